#include "models/adapter.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "models/projection.h"
#include "quant/dense.h"
#include "tests/models/tolerance.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::tolerance;

enum class Kind { lora, dora };

struct AdapterCase {
  Kind kind;
  at::ScalarType type;
  Prologue prologue;
  std::vector<int64_t> outs;
  bool first_has_none;  // a group of which not every linear has an adapter
};

class AdapterTest : public testing::TestWithParam<AdapterCase> {
 protected:
  static constexpr int64_t kTokens = 13, kIn = 24;

  void SetUp() override {
    const AdapterCase& c = GetParam();
    projection.prologue = c.prologue;
    projection.norm = {at::rand({kIn}).to(c.type), 1e-5};
    for (size_t i = 0; i < c.outs.size(); ++i) {
      const int64_t out = c.outs[i], rank = 3 + static_cast<int64_t>(i);
      const at::Tensor weight = (at::randn({out, kIn}) / std::sqrt(24.0)).to(c.type);
      weights.push_back(weight);
      Linear linear;
      linear.weight = std::make_shared<DenseWeight>(weight);
      linear.bias = at::randn({out}).to(c.type);
      if (i > 0 || !c.first_has_none) {
        Adapter adapter;
        adapter.a = (at::randn({rank, kIn}) / 5).to(c.type).requires_grad_();
        adapter.b = (at::randn({out, rank}) / 2).to(c.type).requires_grad_();
        adapter.scale = 1.5;
        adapter.stream = i;
        if (c.kind == Kind::dora)
          adapter.magnitude = (at::rand({out}) + 0.5).to(c.type).requires_grad_();
        linear.adapter = adapter;
        refresh_row_lengths(linear);
      }
      projection.linears.push_back(linear);
    }
    x = at::randn({kTokens, kIn}).to(c.type).requires_grad_();
  }

  std::vector<at::Tensor> taken_gradients() {
    std::vector<at::Tensor> gradients;
    const auto take = [&](at::Tensor& tensor) {
      gradients.push_back(tensor.grad().clone());
      tensor.mutable_grad() = at::Tensor();
    };
    take(x);
    for (Linear& linear : projection.linears) {
      if (!linear.adapter) continue;
      take(linear.adapter->a);
      take(linear.adapter->b);
      if (linear.adapter->magnitude.defined()) take(linear.adapter->magnitude);
    }
    return gradients;
  }

  Projection projection;
  std::vector<at::Tensor> weights;
  at::Tensor x;
};

TEST_P(AdapterTest, InsideTheProjectionEqualsTheChangedWeight) {
  const AdapterCase& c = GetParam();
  const auto expected = project_composition(projection, weights, x);
  std::vector<at::Tensor> seeds;
  for (const at::Tensor& y : expected) seeds.push_back(at::randn(y.sizes()).to(c.type));
  torch::autograd::backward(expected, seeds);
  const std::vector<at::Tensor> wanted = taken_gradients();

  const auto outputs = project(projection, x);
  torch::autograd::backward(outputs, seeds);
  const std::vector<at::Tensor> got = taken_gradients();
  for (size_t i = 0; i < outputs.size(); ++i)
    EXPECT_LE(relative_difference(outputs[i], expected[i]), tolerance(c.type)) << "output " << i;
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_LE(relative_difference(got[i], wanted[i]), 2 * tolerance(c.type)) << "gradient " << i;
}

INSTANTIATE_TEST_SUITE_P(
    KindAndGroup, AdapterTest,
    testing::Values(AdapterCase{Kind::lora, at::kFloat, Prologue::rms_norm, {16, 8, 8}, false},
                    AdapterCase{Kind::lora, at::kFloat, Prologue::none, {16}, false},
                    AdapterCase{Kind::lora, at::kFloat, Prologue::rms_norm, {16, 8, 8}, true},
                    AdapterCase{Kind::lora, at::kBFloat16, Prologue::rms_norm, {16, 8}, false},
                    AdapterCase{Kind::dora, at::kFloat, Prologue::rms_norm, {16, 8, 8}, false},
                    AdapterCase{Kind::dora, at::kFloat, Prologue::none, {16}, false}));

/// The mask the projection draws, from a row of ones.
at::Tensor mask_of(const TrainingNoise& noise, int64_t columns, double p, uint64_t stream) {
  return dropout(at::ones({noise.dropout_keys.size(0), columns}), noise, p, stream);
}

TEST(AdapterDropout, TouchesOnlyWhatTheAdapterReads) {
  for (const bool dora : {false, true}) {
    constexpr int64_t kIn = 20, kOut = 12;
    constexpr double kP = 0.4;
    const TrainingNoise noise = training_noise({.seed = 5}, 0, {3, 7}, {11, 4}, kIn);
    Projection projection;
    Linear linear;
    const at::Tensor weight = at::randn({kOut, kIn});
    linear.weight = std::make_shared<DenseWeight>(weight);
    Adapter adapter;
    adapter.a = at::randn({2, kIn}).requires_grad_();
    adapter.b = at::randn({kOut, 2}).requires_grad_();
    if (dora) adapter.magnitude = (at::rand({kOut}) + 1).requires_grad_();
    adapter.scale = 2;
    adapter.dropout = kP;
    adapter.stream = 9;
    linear.adapter = adapter;
    refresh_row_lengths(linear);
    projection.linears.push_back(linear);
    const at::Tensor x = at::randn({7, kIn}).requires_grad_();
    const at::Tensor seed = at::randn({7, kOut});

    const at::Tensor dropped = x * mask_of(noise, kIn, kP, 9);
    const at::Tensor change = at::mm(at::mm(dropped, adapter.a.t()), adapter.b.t()) * 2;
    at::Tensor expected = at::linear(x, weight);
    if (dora) {
      const at::Tensor factor =
          adapter.magnitude / (weight + 2 * at::mm(adapter.b, adapter.a)).detach().norm(2, {1});
      expected = expected + (factor - 1) * at::linear(dropped, weight) + factor * change;
    } else {
      expected = expected + change;
    }
    expected.backward(seed);
    std::vector<at::Tensor> trained = {x, adapter.a, adapter.b};
    if (dora) trained.push_back(adapter.magnitude);
    std::vector<at::Tensor> wanted;
    for (at::Tensor& tensor : trained) {
      wanted.push_back(tensor.grad().clone());
      tensor.mutable_grad() = at::Tensor();
    }
    const at::Tensor y = project(projection, x, {}, {}, &noise)[0];
    y.backward(seed);
    EXPECT_LE(relative_difference(y, expected), 2e-5);
    for (size_t i = 0; i < trained.size(); ++i)
      EXPECT_LE(relative_difference(trained[i].grad(), wanted[i]), 2e-5) << i;
  }
}

TEST(TrainingNoise, DependsOnTheSampleAndNotOnTheCutOfTheBatch) {
  const TrainingNoise together =
      training_noise({.seed = 1, .neftune_alpha = 5}, 2, {4, 9}, {7, 3}, 8);
  const TrainingNoise alone = training_noise({.seed = 1, .neftune_alpha = 5}, 2, {5}, {3}, 8);
  const at::Tensor x = at::ones({9, 8});
  EXPECT_TRUE(
      dropout(x, together, 0.5, 1).slice(0, 4, 9).equal(dropout(at::ones({5, 8}), alone, 0.5, 1)));
  EXPECT_TRUE(with_embedding_noise(x, together)
                  .slice(0, 4, 9)
                  .equal(with_embedding_noise(at::ones({5, 8}), alone)));
  const TrainingNoise later = training_noise({.seed = 1}, 3, {5}, {3}, 8);
  EXPECT_FALSE(
      dropout(at::ones({5, 8}), alone, 0.5, 1).equal(dropout(at::ones({5, 8}), later, 0.5, 1)));
  // alpha / sqrt(length * hidden) bounds the noise.
  const at::Tensor noise = (with_embedding_noise(x, together) - 1).slice(0, 4, 9).abs();
  EXPECT_LE(noise.max().item<float>(), 5 / std::sqrt(5.0 * 8) + 1e-6);
  EXPECT_GE(noise.max().item<float>(), 0.5 * 5 / std::sqrt(5.0 * 8));
}

}  // namespace
}  // namespace isogrid
