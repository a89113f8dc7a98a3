// A projection over a base in few bits against one over the same numbers as a dense matrix.
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/attach_adapters.h"
#include "models/projection.h"
#include "quant/bnb4.h"
#include "quant/dense.h"
#include "quant/int8_rows.h"
#include "quant/packed_groups.h"

namespace isogrid {
namespace {

using kernels::FourBitCode;

std::shared_ptr<WeightSource> nf4(const at::Tensor& dense) {
  return std::make_shared<Bnb4Weight>(quantise_bnb4("weight", dense, FourBitCode::nf4, true));
}
std::shared_ptr<WeightSource> fp4(const at::Tensor& dense) {
  return std::make_shared<Bnb4Weight>(quantise_bnb4("weight", dense, FourBitCode::fp4, false));
}
std::shared_ptr<WeightSource> int8(const at::Tensor& dense) {
  return quantise_int8_rows("weight", dense);
}

/// Random codes in the layout that GPTQ, AWQ and compressed-tensors come to.
std::shared_ptr<WeightSource> packed(const at::Tensor& dense, int bits, at::ScalarType scale_type,
                                     int64_t group, bool scattered) {
  PackedGroupParts parts;
  parts.bits = bits;
  parts.outputs = dense.size(0);
  parts.inputs = dense.size(1);
  parts.group_size = group;
  const int64_t groups = (parts.inputs + group - 1) / group;
  parts.codes = at::randint(256, {parts.outputs, packed_row_bytes(parts.inputs, bits)}, at::kByte);
  parts.scales = (at::rand({parts.outputs, groups}) + 0.5).to(scale_type);
  parts.zeros = at::randint(1 << bits, {parts.outputs, groups}, at::kByte);
  if (scattered) parts.group_of = at::randint(groups, {parts.inputs}, at::kInt);
  return std::make_shared<PackedGroupWeight>(std::move(parts));
}
std::shared_ptr<WeightSource> gptq(const at::Tensor& dense) {
  return packed(dense, 4, at::kHalf, 32, /*scattered=*/false);
}
std::shared_ptr<WeightSource> gptq3(const at::Tensor& dense) {
  return packed(dense, 3, at::kHalf, 20, /*scattered=*/true);
}
std::shared_ptr<WeightSource> ct8(const at::Tensor& dense) {
  return packed(dense, 8, at::kBFloat16, 131, /*scattered=*/false);
}
std::shared_ptr<WeightSource> gptq2(const at::Tensor& dense) {
  return packed(dense, 2, at::kFloat, 64, /*scattered=*/false);
}

struct QuantisedCase {
  const char* name;
  std::shared_ptr<WeightSource> (*make)(const at::Tensor& dense);
  Prologue prologue;
  bool dora;
  std::vector<int64_t> outs;
};

Projection projection_of(const QuantisedCase& c, int64_t in) {
  Projection projection;
  projection.prologue = c.prologue;
  projection.norm = {at::rand({in}), 1e-5};
  for (const int64_t out : c.outs) {
    Linear linear;
    linear.weight = c.make(at::randn({out, in}) * 0.1);
    linear.bias = at::randn({out});
    Adapter adapter;
    adapter.a = at::randn({4, in});
    adapter.b = at::randn({out, 4});
    adapter.scale = 0.5;
    if (c.dora) adapter.magnitude = at::rand({out}) + 0.5;
    linear.adapter = adapter;
    refresh_row_lengths(linear);
    projection.linears.push_back(linear);
  }
  return projection;
}

/// The same with matrices of the decoded numbers and copies of what trains.
Projection dense_twin(const Projection& projection) {
  Projection twin = projection;
  for (Linear& linear : twin.linears) {
    linear.weight =
        std::make_shared<DenseWeight>(whole_weight(*linear.weight, at::kFloat, at::kCPU));
    for (at::Tensor* tensor : {&linear.adapter->a, &linear.adapter->b, &linear.adapter->magnitude})
      if (tensor->defined()) *tensor = tensor->clone();
  }
  return twin;
}

std::vector<at::Tensor> outputs_and_gradients(Projection& projection, const at::Tensor& x,
                                              const at::Tensor& up,
                                              const std::vector<at::Tensor>& seeds) {
  const at::Tensor leaf = x.clone().requires_grad_();
  for (Linear& linear : projection.linears)
    for (at::Tensor* tensor : {&linear.adapter->a, &linear.adapter->b, &linear.adapter->magnitude})
      if (tensor->defined()) tensor->requires_grad_();
  std::vector<at::Tensor> results =
      project(projection, leaf, projection.prologue == Prologue::swiglu ? up : at::Tensor());
  torch::autograd::backward(results, seeds);
  results.push_back(leaf.grad());
  for (const Linear& linear : projection.linears)
    for (const at::Tensor* tensor :
         {&linear.adapter->a, &linear.adapter->b, &linear.adapter->magnitude})
      if (tensor->defined()) results.push_back(tensor->grad());
  return results;
}

class QuantisedProjection : public testing::TestWithParam<QuantisedCase> {};

TEST_P(QuantisedProjection, GivesTheBitsOfADenseLayerHoldingTheDecodedWeight) {
  constexpr int64_t kIn = 131;  // blocks of scales cross the rows
  Projection quantised = projection_of(GetParam(), kIn);
  Projection dense = dense_twin(quantised);
  const at::Tensor x = at::randn({40, kIn}), up = at::randn({40, kIn});
  std::vector<at::Tensor> seeds;
  for (const int64_t out : GetParam().outs) seeds.push_back(at::randn({40, out}));
  const auto got = outputs_and_gradients(quantised, x, up, seeds);
  const auto wanted = outputs_and_gradients(dense, x, up, seeds);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].equal(wanted[i])) << i;
}

TEST_P(QuantisedProjection, AFewRowsAreMultipliedInStretchesWithTheSameBits) {
  const at::NoGradGuard no_grad;
  const auto weight = GetParam().make(at::randn({1203, 131}));  // several stretches
  Projection quantised, dense;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    quantised.linears = {{weight, at::randn({1203}).to(type)}};
    dense.linears = quantised.linears;
    dense.linears[0].weight = std::make_shared<DenseWeight>(whole_weight(*weight, type, at::kCPU));
    for (const int64_t rows : {1, 5, 32}) {
      const at::Tensor x = at::randn({rows, 131}).to(type), onto = at::randn({rows, 1203}).to(type);
      EXPECT_TRUE(project(quantised, x)[0].equal(project(dense, x)[0])) << rows;
      EXPECT_TRUE(project(quantised, x, {}, onto)[0].equal(project(dense, x, {}, onto)[0])) << rows;
    }
  }
}

TEST_P(QuantisedProjection, RowsAreRowsOfTheWholeInEveryType) {
  const auto weight = GetParam().make(at::randn({23, 131}));
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const at::Tensor whole = whole_weight(*weight, type, at::kCPU);
    at::Tensor part = at::randn({9, 131}).to(type);
    weight->materialise(part, 5, 14, nullptr);
    EXPECT_TRUE(part.equal(whole.slice(0, 5, 14)));
    const at::Tensor ids = (at::rand({6}) * 23).to(at::kLong);
    EXPECT_TRUE(weight->rows(ids, type).equal(whole.index_select(0, ids)));
  }
}

TEST_P(QuantisedProjection, ALowRankChangeIsAddedBeforeRounding) {
  const auto weight = GetParam().make(at::randn({23, 131}));
  const LowRank change{at::randn({3, 131}), at::randn({23, 3}), 0.25};
  const at::Tensor wide =
      whole_weight(*weight, at::kFloat, at::kCPU) + at::matmul(change.b, change.a) * change.scale;
  at::Tensor got = at::randn({23, 131}).to(at::kBFloat16);
  weight->materialise(got, 0, 23, &change);
  EXPECT_TRUE(got.equal(wide.to(at::kBFloat16)));
}

TEST_P(QuantisedProjection, AGpuExpandsToTheSameBits) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no GPU here: the kernels for one were not run";
  for (const int64_t inputs : {131, 128, 1024}) {
    const auto weight = GetParam().make(at::randn({37, inputs}));
    std::vector<at::Tensor> wanted;
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf})
      wanted.push_back(whole_weight(*weight, type, at::kCPU));
    weight->to(at::kCUDA);
    for (const at::Tensor& whole : wanted) {
      EXPECT_TRUE(whole_weight(*weight, whole.scalar_type(), at::kCUDA).cpu().equal(whole));
      at::Tensor part = whole.slice(0, 5, 30).to(at::kCUDA).zero_();
      weight->materialise(part, 5, 30, nullptr);
      EXPECT_TRUE(part.cpu().equal(whole.slice(0, 5, 30)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, QuantisedProjection,
    testing::Values(QuantisedCase{"nf4", nf4, Prologue::rms_norm, false, {48, 24, 24}},
                    QuantisedCase{"nf4_dora", nf4, Prologue::none, true, {48}},
                    QuantisedCase{"fp4", fp4, Prologue::swiglu, false, {51}},
                    QuantisedCase{"int8", int8, Prologue::rms_norm, false, {48, 24, 24}},
                    QuantisedCase{"int8_dora", int8, Prologue::swiglu, true, {29}},
                    QuantisedCase{"fp4_dora", fp4, Prologue::rms_norm, true, {16, 33}},
                    QuantisedCase{"gptq", gptq, Prologue::rms_norm, false, {48, 24}},
                    QuantisedCase{"gptq3", gptq3, Prologue::none, true, {31}},
                    QuantisedCase{"gptq2", gptq2, Prologue::swiglu, false, {40}},
                    QuantisedCase{"ct8", ct8, Prologue::rms_norm, false, {33, 16}}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace isogrid
