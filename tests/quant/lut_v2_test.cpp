#include "quant/lut_v2.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <map>

#include "core/error.h"
#include "quant/packed_codes.h"
#include "tests/quant/bits.h"
#include "tests/quant/gradient_check.h"

namespace isogrid {
namespace {

using test::difference_quotient;
using test::gap;
using test::same_bits;

struct Shape {
  int64_t rows, columns, rank;
  int bits;
};
const Shape kShapes[] = {{7, 9, 1, 2}, {24, 40, 4, 4}, {33, 65, 8, 2}, {300, 50, 32, 4}};

at::Tensor random_codes(const Shape& s) {
  return (at::randn({s.rows, s.columns}) * 1000).to(at::kLong).remainder(1 << s.bits).to(at::kByte);
}

LutV2Parts random_parts(const Shape& s, at::ScalarType type) {
  LutV2Parts parts;
  parts.codes = pack_codes(random_codes(s), s.bits);
  parts.table.values = uniform_table(s.bits).to(type);
  parts.a = (at::randn({s.rows, s.rank}) * 3).to(type);
  parts.b = at::randn({s.rank, s.columns}).to(type);
  parts.g = at::randn({s.rank}).to(type) * 5;
  return parts;
}

LutV2Weight exact_weight(const Shape& s, at::ScalarType type = at::kDouble) {
  return LutV2Weight("w", random_parts(s, type), {.half = false});
}

at::Tensor served_v2(const WeightSource& source, at::ScalarType type) {
  at::Tensor out = at::empty({source.outputs(), source.inputs()}, type);
  source.materialise(out, 0, source.outputs(), nullptr);
  return out;
}

/// The weight by its definition, from plain differentiable operators.
at::Tensor composed(const LutV2Parts& p, const at::Tensor& table) {
  const at::Tensor a = p.a / p.a.norm(2, {0}, true), b = p.b / p.b.norm(2, {1}, true);
  const at::Tensor codes = unpack_codes(p.codes, p.bits(), p.b.size(1));
  const at::Tensor values =
      table.index_select(0, codes.reshape({-1}).to(at::kLong)).view(codes.sizes());
  return values * at::matmul(a * p.g, b);
}

// One column of each direction: a = (3, 4) / 5, b = (0, 2) / 2, g = 10: scales (0, 6), (0, 8).
TEST(LutV2, AHandWorkedWeight) {
  LutV2Parts parts;
  parts.codes = pack_codes(at::tensor({0, 1, 2, 3}, at::kByte).reshape({2, 2}), 2);
  parts.table.values = at::tensor({-1.0f, -0.5f, 0.5f, 1.0f});
  parts.a = at::tensor({3.0f, 4.0f}).reshape({2, 1});
  parts.b = at::tensor({0.0f, 2.0f}).reshape({1, 2});
  parts.g = at::tensor({10.0f});
  const at::Tensor weight = served_v2(LutV2Weight("w", parts, {.half = false}), at::kFloat);
  EXPECT_TRUE(weight.allclose(at::tensor({0.0f, -3.0f, 0.0f, 8.0f}).reshape({2, 2})));
}

TEST(LutV2, WeightAndAllGradientsAreThoseOfTheDefinition) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat})
    for (const Shape& s : kShapes) {
      const double close = type == at::kDouble ? 1e-12 : 2e-5;
      LutV2Weight weight = exact_weight(s, type);
      LutV2Parts& p = weight.parts();
      at::Tensor* const leaves[] = {&p.a, &p.b, &p.g, &p.table.values};
      for (at::Tensor* leaf : leaves) leaf->requires_grad_();
      const at::Tensor wanted = composed(p, p.table.values);
      EXPECT_LE(gap(served_v2(weight, type), wanted), close);

      const at::Tensor d = at::randn({s.rows, s.columns}).to(type);
      torch::autograd::backward({wanted}, {d});
      std::vector<at::Tensor> gradients;
      for (at::Tensor* leaf : leaves) {
        gradients.push_back(leaf->grad().clone());
        leaf->mutable_grad() = at::Tensor();
      }
      weight.accumulate(d);
      for (size_t i = 0; i < 4; ++i)
        EXPECT_LE(gap(leaves[i]->grad(), gradients[i]), 10 * close) << "leaf " << i;
    }
}

TEST(LutV2, GradientsAreDifferenceQuotients) {
  const Shape s{6, 11, 3, 4};
  LutV2Weight weight = exact_weight(s);
  LutV2Parts& p = weight.parts();
  const at::Tensor d = at::randn({s.rows, s.columns}, at::kDouble);
  for (at::Tensor* leaf : {&p.a, &p.b, &p.g, &p.table.values}) leaf->requires_grad_();
  weight.accumulate(d);
  const auto loss = [&] { return (served_v2(weight, at::kDouble) * d).sum().item<double>(); };
  for (at::Tensor* leaf : {&p.a, &p.b, &p.g, &p.table.values})
    EXPECT_LE(gap(leaf->grad(), difference_quotient(leaf->detach(), loss)), 1e-8);
}

TEST(LutV2, EveryForwardGivesTheSameProduct) {
  for (const Shape& s : kShapes) {
    const LutV2Parts parts = random_parts(s, at::kDouble);
    const LutV2Weight plain("w", parts, {.half = false});
    const LutV2Weight factored("w", parts, {.half = false, .forward = LutForward::factored});
    const LutV2Weight batched("w", parts, {.half = false, .forward = LutForward::batched});
    const at::Tensor x = at::randn({5, s.columns}, at::kDouble);
    const at::Tensor wanted = at::matmul(x, served_v2(plain, at::kDouble).t());
    EXPECT_FALSE(plain.own_product(x).defined());
    EXPECT_LE(gap(factored.own_product(x), wanted), 1e-12);
    EXPECT_LE(gap(batched.own_product(x), wanted), 1e-12);
  }
}

/// y by ranks, differentiable: what the materialised gradients must equal.
at::Tensor rank_by_rank(const LutV2Parts& p, const at::Tensor& x) {
  const at::Tensor a = p.a / p.a.norm(2, {0}, true), b = p.b / p.b.norm(2, {1}, true);
  const at::Tensor codes = unpack_codes(p.codes, p.bits(), p.b.size(1));
  const at::Tensor values =
      p.table.values.index_select(0, codes.reshape({-1}).to(at::kLong)).view(codes.sizes());
  at::Tensor y = at::zeros({x.size(0), p.a.size(0)}, x.options());
  for (int64_t k = 0; k < p.g.size(0); ++k)
    y = y + at::matmul(x * b[k], values.t()) * (a.select(1, k) * p.g[k]);
  return y;
}

TEST(LutV2, TheMaterialisedGradientsAreThoseOfTheRankByRankForward) {
  const Shape s{24, 40, 8, 2};
  LutV2Weight weight = exact_weight(s);
  LutV2Parts& p = weight.parts();
  at::Tensor* const leaves[] = {&p.a, &p.b, &p.g, &p.table.values};
  for (at::Tensor* leaf : leaves) leaf->requires_grad_();
  const at::Tensor x = at::randn({6, s.columns}, at::kDouble).requires_grad_();
  const at::Tensor dy = at::randn({6, s.rows}, at::kDouble);
  torch::autograd::backward({rank_by_rank(p, x)}, {dy});
  std::vector<at::Tensor> wanted;
  for (at::Tensor* leaf : leaves) {
    wanted.push_back(leaf->grad().clone());
    leaf->mutable_grad() = at::Tensor();
  }
  weight.accumulate(at::matmul(dy.t(), x.detach()));
  for (size_t i = 0; i < 4; ++i) EXPECT_LE(gap(leaves[i]->grad(), wanted[i]), 1e-12) << i;
  EXPECT_LE(gap(at::matmul(dy, served_v2(weight, at::kDouble)), x.grad()), 1e-12);
}

TEST(LutV2, InFloat16TheForwardsAgreeToItsRounding) {
  const Shape s{64, 96, 32, 2};
  const LutV2Parts parts = random_parts(s, at::kFloat);
  const LutV2Weight plain("w", parts, {});
  const at::Tensor x = at::randn({16, s.columns});
  const at::Tensor wanted = at::matmul(x, served_v2(plain, at::kFloat).t());
  for (const LutForward forward : {LutForward::factored, LutForward::batched}) {
    const at::Tensor y = LutV2Weight("w", parts, {.forward = forward}).own_product(x);
    EXPECT_TRUE(as_half(y).equal(y));
    EXPECT_LE(gap(y, wanted), 3e-3);
    EXPECT_GT(gap(y, wanted), 1e-6);
  }
}

TEST(LutV2, FactorsAreThoseThatFloat16Holds) {
  const LutV2Weight weight("w", random_parts({20, 30, 4, 4}, at::kFloat), {});
  const LutFactors factors = weight.factors(at::kFloat);
  EXPECT_TRUE(as_half(factors.left).equal(factors.left));
  EXPECT_TRUE(as_half(factors.right).equal(factors.right));
  EXPECT_TRUE(as_half(factors.table).equal(factors.table));
}

TEST(LutV2, BakingChangesNoBit) {
  LutV2Parts parts = random_parts({20, 30, 4, 4}, at::kFloat);
  give_logits(parts.table);
  LutV2Weight weight("w", parts, {});
  const at::Tensor before = served_v2(weight, at::kFloat);
  weight.bake();
  EXPECT_TRUE(same_bits(served_v2(weight, at::kFloat), before));
  EXPECT_TRUE(weight.parts().baked);
  weight.bake();
  EXPECT_TRUE(same_bits(served_v2(weight, at::kFloat), before));
}

// What is trained is saved: the table in the list of tensors is the one in use.
TEST(LutV2, TheListedTableIsTheTrainedOne) {
  LutV2Parts parts = random_parts({4, 6, 1, 4}, at::kFloat);
  give_logits(parts.table);
  LutV2Weight weight("w", parts, {});
  weight.parts().table.logits.add_(at::randn({8}));
  at::Tensor listed;
  weight.visit("w", Role::weight, [&](const TensorSlot& slot) {
    if (slot.name == "w.lut") listed = *slot.tensor;
    EXPECT_EQ(slot.of_run, slot.name == "w.lut_logits");
  });
  EXPECT_TRUE(same_bits(listed, weight.factors(at::kFloat).table));
}

TEST(LutV2, RowsAreThoseOfTheWeight) {
  const LutV2Weight weight("w", random_parts({20, 30, 4, 2}, at::kFloat), {});
  const at::Tensor ids = at::tensor({19, 0, 7, 7}, at::kLong);
  EXPECT_TRUE(
      same_bits(weight.rows(ids, at::kFloat), served_v2(weight, at::kFloat).index_select(0, ids)));
  at::Tensor some = at::empty({3, 30}, at::kBFloat16);
  weight.materialise(some, 5, 8, nullptr);
  EXPECT_TRUE(same_bits(some, served_v2(weight, at::kFloat).slice(0, 5, 8).to(at::kBFloat16)));
}

TEST(LutV2, TheNumberOfThreadsChangesNoBit) {
  LutV2Parts parts = random_parts({700, 130, 8, 4}, at::kFloat);
  const at::Tensor d = at::randn({700, 130});
  const auto gradients = [&](int threads) {
    at::set_num_threads(threads);
    LutV2Parts own = parts;
    for (at::Tensor* t : {&own.a, &own.b, &own.g, &own.table.values})
      *t = t->clone().requires_grad_();
    LutV2Weight weight("w", own, {});
    weight.accumulate(d);
    return at::cat({weight.parts().a.grad().reshape({-1}), weight.parts().b.grad().reshape({-1}),
                    weight.parts().g.grad(), weight.parts().table.values.grad(),
                    served_v2(weight, at::kFloat).reshape({-1})});
  };
  const int before = at::get_num_threads();
  const at::Tensor alone = gradients(1), together = gradients(2);
  at::set_num_threads(before);
  EXPECT_TRUE(same_bits(alone, together));
}

// Between -1/3 and 1/3 the middle is 0, which goes to the lower; a scale of zero gives no infinity.
TEST(LutV2, NearestCodesTakeTheLowerValueOfATie) {
  const at::Tensor weight = at::tensor({0.0f, -9.0f, 9.0f, 0.4f, 5.0f}).reshape({1, 5});
  const at::Tensor scales = at::tensor({1.0f, 1.0f, 1.0f, -1.0f, 0.0f}).reshape({1, 5});
  const at::Tensor codes = nearest_codes(weight, scales, uniform_table(2));
  EXPECT_TRUE(codes.equal(at::tensor({1, 0, 3, 1, 1}, at::kByte).reshape({1, 5})));
}

LutV2Weight recoded(float latent, int code, double hysteresis) {
  LutV2Parts parts;
  parts.codes = pack_codes(at::tensor({code}, at::kByte).reshape({1, 1}), 2);
  parts.table.values = at::tensor({-1.5f, -0.5f, 0.5f, 1.5f});
  parts.a = parts.b = at::ones({1, 1});
  parts.g = at::ones({1});
  parts.latent = at::tensor({latent}).reshape({1, 1});
  LutV2Weight weight("w", parts, {.recode_steps = 5, .hysteresis = hysteresis});
  weight.begin_step({10, 100}, nullptr);
  return weight;
}

int code_of(const LutV2Weight& weight) { return weight.parts().codes[0][0].item<int>(); }

// Codes 2 and 3 stand for 0.5 and 1.5: from 1 on code 3 is nearer, by a quarter of their distance
// from 1.125 on.
TEST(LutV2, CodesFlipOnlyBeyondTheHysteresis) {
  EXPECT_EQ(code_of(recoded(1.05f, 2, 0.25)), 2);
  EXPECT_EQ(code_of(recoded(1.2f, 2, 0.25)), 3);
  EXPECT_EQ(code_of(recoded(1.05f, 2, 0.0)), 3);
  EXPECT_EQ(code_of(recoded(0.95f, 3, 0.25)), 3);
  EXPECT_EQ(code_of(recoded(-1.4f, 3, 0.25)), 0);
}

TEST(LutV2, CodesRestBetweenTheirSteps) {
  LutV2Weight weight = recoded(1.2f, 2, 0.25);
  weight.parts().latent.fill_(-2.0f);
  weight.begin_step({11, 100}, nullptr);
  EXPECT_EQ(code_of(weight), 3);
  weight.begin_step({15, 100}, nullptr);
  EXPECT_EQ(code_of(weight), 0);
}

TEST(LutV2, PartsThatDoNotFitAreRefusedByName) {
  LutV2Parts parts = random_parts({4, 6, 2, 4}, at::kFloat);
  parts.b = at::randn({3, 6});
  try {
    LutV2Weight("layers.0.q_proj", parts, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::refused_input);
    EXPECT_NE(std::string(error.what()).find("layers.0.q_proj"), std::string::npos);
  }
}

}  // namespace
}  // namespace isogrid
