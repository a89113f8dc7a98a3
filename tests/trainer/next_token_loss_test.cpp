#include "trainer/loss/next_token_loss.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/score.h"
#include "quant/dense.h"
#include "tests/models/tolerance.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::tolerance;

TEST(NextTokenLoss, OfEqualLogitsIsTheLogarithmOfTheVocabulary) {
  DenseWeight head(at::zeros({8, 4}));
  const at::Tensor loss =
      next_token_loss(at::randn({3, 4}), head, at::tensor({int64_t{1}}), at::tensor({int64_t{5}}));
  EXPECT_NEAR(loss[0].item<float>(), std::log(8.0), 1e-6);
}

class NextTokenLossTest : public testing::TestWithParam<at::ScalarType> {};

TEST_P(NextTokenLossTest, EqualsItsCompositionAlsoWhenRowsWeighDifferently) {
  const at::ScalarType type = GetParam();
  const int64_t vocabulary = 70000;  // several chunks
  const at::Tensor rows = at::tensor({int64_t{0}, int64_t{2}, int64_t{7}}).repeat({1});
  const at::Tensor labels = at::tensor({int64_t{3}, int64_t{69999}, int64_t{0}});
  const at::Tensor scale = at::tensor({0.5f, -2.0f, 0.0f});
  const at::Tensor hidden = at::randn({9, 12}).to(type).requires_grad_();
  const at::Tensor matrix = (at::randn({vocabulary, 12}) / 4).to(type);

  at::Tensor leaf = matrix.clone().requires_grad_();
  const at::Tensor expected = next_token_loss_composition(hidden, leaf, rows, labels);
  (expected * scale).sum().backward();
  const at::Tensor d_hidden = hidden.grad().clone();
  hidden.mutable_grad() = at::Tensor();

  at::Tensor trained = matrix.clone().requires_grad_();
  DenseWeight head(trained);
  const at::Tensor loss = next_token_loss(hidden, head, rows, labels);
  (loss * scale).sum().backward();
  EXPECT_LE(relative_difference(loss, expected), tolerance(type));
  EXPECT_LE(relative_difference(hidden.grad(), d_hidden), tolerance(type));
  EXPECT_LE(relative_difference(trained.grad(), leaf.grad()), tolerance(type));
}

INSTANTIATE_TEST_SUITE_P(Types, NextTokenLossTest, testing::Values(at::kFloat, at::kBFloat16));

TEST(NextTokenLoss, CutsLongBatchesIntoChunksWithoutAChange) {
  const at::Tensor hidden = at::randn({300, 8}).requires_grad_();
  const at::Tensor rows = at::arange(300, at::kLong);
  const at::Tensor labels = at::randint(0, 200000, {300}, at::kLong);
  DenseWeight head(at::randn({200000, 8}));
  ASSERT_LT(head_rows_per_chunk(200000), 300);
  const at::Tensor loss = next_token_loss(hidden, head, rows, labels);
  loss.mean().backward();
  const at::Tensor gradient = hidden.grad().clone();
  hidden.mutable_grad() = at::Tensor();
  const at::Tensor expected =
      next_token_loss_composition(hidden, head.resident(at::kFloat), rows, labels);
  expected.mean().backward();
  EXPECT_LE(relative_difference(loss, expected), 2e-5);
  // Each gradient is a float32 sum of 200,000 terms, in another order on either side.
  EXPECT_LE(relative_difference(gradient, hidden.grad()), 1e-4);
}

}  // namespace
}  // namespace isogrid
