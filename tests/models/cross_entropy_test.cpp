#include "models/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/models/tolerance.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::tolerance;

struct CrossEntropyCase {
  at::ScalarType type;
  int64_t rows, vocabulary;
  double smoothing;
};

class CrossEntropyModelTest : public testing::TestWithParam<CrossEntropyCase> {};

TEST_P(CrossEntropyModelTest, EqualsPlainOperatorsAndTheirGradient) {
  const auto& [type, rows, vocabulary, smoothing] = GetParam();
  const at::Tensor logits = (at::randn({rows, vocabulary}) * 4).to(type);
  const at::Tensor labels = at::randint(0, vocabulary, {rows}, at::kLong);
  const at::Tensor factors = at::randn({rows});

  const at::Tensor leaf = logits.to(at::kDouble).requires_grad_();
  const at::Tensor wanted = at::logsumexp(leaf, {1}) -
                            leaf.gather(1, labels.unsqueeze(1)).squeeze(1) * (1 - smoothing) -
                            leaf.mean(1) * smoothing;
  (wanted * factors).sum().backward();

  EXPECT_LE(relative_difference(cross_entropy(logits, labels, smoothing), wanted), 1e-6);
  const auto got = differentiate_cross_entropy(logits.clone(), labels, smoothing, factors);
  EXPECT_LE(relative_difference(got.losses, wanted), 1e-6);
  EXPECT_LE(relative_difference(got.d_logits, leaf.grad()), tolerance(type));
}

INSTANTIATE_TEST_SUITE_P(TypesAndVocabularies, CrossEntropyModelTest,
                         testing::Values(CrossEntropyCase{at::kFloat, 3, 7, 0.0},
                                         CrossEntropyCase{at::kFloat, 9, 2048, 0.1},
                                         CrossEntropyCase{at::kFloat, 2, 151936, 0.0},
                                         CrossEntropyCase{at::kBFloat16, 5, 151936, 0.1},
                                         CrossEntropyCase{at::kHalf, 5, 2049, 0.2},
                                         CrossEntropyCase{at::kDouble, 4, 33, 0.1}));

TEST(CrossEntropy, OfAVocabularyOfOneIsZero) {
  const auto got = differentiate_cross_entropy(at::tensor({3.0f, -8.0f}).unsqueeze(1),
                                               at::tensor({0L, 0L}), 0.1);
  EXPECT_EQ(got.losses.abs().max().item<float>(), 0.0f);
  EXPECT_LE(got.d_logits.abs().max().item<float>(), 1e-7f);
}

TEST(CrossEntropy, RefusesALabelOutsideTheVocabulary) {
  try {
    cross_entropy(at::randn({2, 5}), at::tensor({0L, 5L}));
    FAIL() << "a label was read from beyond its row";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::refused_input);
    EXPECT_STREQ(error.what(), "a label is token 5; the model's head has 5 tokens, 0 to 4");
  }
}

}  // namespace
}  // namespace isogrid
