#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

using CrossEntropyTest = InstructionSetTest;

/// Loss and gradient of one row in double.
struct SlowRow {
  double loss;
  std::vector<double> gradient;

  SlowRow(const float* x, size_t columns, size_t label, double smoothing) {
    double highest = -INFINITY, total = 0, mean = 0;
    for (size_t c = 0; c < columns; ++c) highest = std::max(highest, double{x[c]});
    for (size_t c = 0; c < columns; ++c) {
      total += std::exp(x[c] - highest);
      mean += x[c] / static_cast<double>(columns);
    }
    loss =
        highest + std::log(total) - (1 - smoothing) * x[label] - (smoothing ? smoothing * mean : 0);
    for (size_t c = 0; c < columns; ++c)
      gradient.push_back(std::exp(x[c] - highest) / total -
                         smoothing / static_cast<double>(columns) -
                         (c == label ? 1 - smoothing : 0));
  }
};

TEST_P(CrossEntropyTest, OfTwoEqualLogitsIsTheLogarithmOfTwo) {
  float logits[] = {3, 3}, loss = 0;
  const int64_t label = 1;
  cross_entropy_kernels(GetParam())
      .differentiate({Element::f32, logits, &label, 2}, &loss, nullptr, 0, 1);
  EXPECT_NEAR(loss, std::log(2.0), 1e-7);
  EXPECT_EQ(logits[0], 0.5f);
  EXPECT_EQ(logits[1], -0.5f);
}

TEST_P(CrossEntropyTest, FollowsItsDefinitionForEveryVocabulary) {
  for (const size_t columns : {1u, 7u, 16u, 2048u, 4097u, 151936u})
    for (const double smoothing : {0.0, 0.1}) {
      auto logits = random(2 * columns);
      for (float& x : logits) x *= 8;
      const auto before = logits;
      const int64_t labels[] = {0, static_cast<int64_t>(columns) - 1};
      const float factors[] = {1.0f, -0.25f};
      std::vector<float> only(2), losses(2);
      const LabelledLogits in{Element::f32, logits.data(), labels, static_cast<int64_t>(columns),
                              smoothing};
      const auto& kernels = cross_entropy_kernels(GetParam());
      kernels.losses(in, only.data(), 0, 2);
      EXPECT_EQ(logits, before);
      kernels.differentiate(in, losses.data(), factors, 1, 2);
      kernels.differentiate(in, losses.data(), factors, 0, 1);
      EXPECT_EQ(only, losses);
      for (size_t row = 0; row < 2; ++row) {
        const SlowRow slow(&before[row * columns], columns, static_cast<size_t>(labels[row]),
                           smoothing);
        EXPECT_NEAR(losses[row], slow.loss, 1e-6 * std::max(1.0, slow.loss)) << columns;
        for (size_t c = 0; c < columns; ++c) {
          const double wanted = slow.gradient[c] * factors[row];
          ASSERT_NEAR(logits[row * columns + c], wanted, 1e-6 * std::abs(wanted) + 1e-7)
              << columns << ", " << c;
        }
      }
    }
}

TEST_P(CrossEntropyTest, SmallProbabilitiesAreExactToTheirLastPlaces) {
  std::vector<float> logits;
  for (int i = 0; i <= 80; ++i) logits.push_back(static_cast<float>(-i));
  const auto before = logits;
  const int64_t label = 0;
  float loss = 0;
  cross_entropy_kernels(GetParam())
      .differentiate({Element::f32, logits.data(), &label, 81}, &loss, nullptr, 0, 1);
  const SlowRow slow(before.data(), 81, 0, 0);
  for (size_t i = 1; i < 81; ++i) EXPECT_NEAR(logits[i], slow.gradient[i], 4e-7 * slow.gradient[i]);
}

TEST_P(CrossEntropyTest, HalfTypesAreRoundedOnce) {
  const size_t columns = 5000;
  for (const Element element : {Element::bf16, Element::f16}) {
    std::vector<uint16_t> halves;
    std::vector<float> wide;
    for (const float x : random(columns)) {
      // Numbers that both types hold: eight leading bits.
      const uint32_t bits = __builtin_bit_cast(uint32_t, x + (x < 0 ? -1.0f : 1.0f)) & 0xffff0000u;
      wide.push_back(__builtin_bit_cast(float, bits));
      const uint32_t half = (((bits & 0x7fffffffu) - 0x38000000u) >> 13) | (bits >> 16 & 0x8000u);
      halves.push_back(static_cast<uint16_t>(element == Element::bf16 ? bits >> 16 : half));
    }
    const int64_t label = 77;
    float loss = 0;
    cross_entropy_kernels(GetParam())
        .differentiate({element, halves.data(), &label, columns, 0.1}, &loss, nullptr, 0, 1);
    const SlowRow slow(wide.data(), columns, 77, 0.1);
    EXPECT_NEAR(loss, slow.loss, 1e-5);
    for (size_t c = 0; c < columns; ++c) {
      const uint32_t bits = halves[c];
      const int exponent = static_cast<int>(bits >> 10 & 31);
      const double f16 = (bits & 0x8000 ? -1 : 1) *
                         std::ldexp(static_cast<double>((bits & 1023) + (exponent ? 1024 : 0)),
                                    std::max(exponent, 1) - 25);
      const double got =
          element == Element::bf16 ? double{__builtin_bit_cast(float, bits << 16)} : f16;
      const double wanted = slow.gradient[c];
      const double rounding = element == Element::bf16
                                  ? 0.00391 * std::abs(wanted)
                                  : std::max(4.9e-4 * std::abs(wanted), 3.1e-8);
      ASSERT_NEAR(got, wanted, rounding + 1e-9) << c;
    }
  }
}

TEST_P(CrossEntropyTest, WhatIsNotFiniteShows) {
  const auto& kernels = cross_entropy_kernels(GetParam());
  const int64_t label = 2;
  float loss = 0;
  std::vector<float> masked{-INFINITY, 1, 2, -INFINITY};
  kernels.differentiate({Element::f32, masked.data(), &label, 4}, &loss, nullptr, 0, 1);
  EXPECT_NEAR(loss, std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_EQ(masked[0], 0.0f);
  EXPECT_EQ(masked[3], 0.0f);
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> logits(40, 1.0f);
    logits[33] = bad;
    kernels.differentiate({Element::f32, logits.data(), &label, 40}, &loss, nullptr, 0, 1);
    EXPECT_FALSE(std::isfinite(loss)) << bad;
    EXPECT_TRUE(std::isnan(logits[33])) << bad;
  }
  std::vector<float> nothing(5, -INFINITY);
  kernels.losses({Element::f32, nothing.data(), &label, 5}, &loss, 0, 1);
  EXPECT_FALSE(std::isfinite(loss));
}

TEST_P(CrossEntropyTest, SoftmaxesAddUpAtTwoTemperaturesWithColumnsTakenOut) {
  const auto& kernels = cross_entropy_kernels(GetParam());
  for (const size_t columns : {3u, 17u, 4100u}) {
    auto logits = random(2 * columns);
    for (float& x : logits) x *= 8;
    logits[1] = logits[columns] = -INFINITY;
    const auto before = logits;
    const LogitRows in{Element::f32, logits.data(), static_cast<int64_t>(columns)};
    float cold[2], warm[2];
    kernels.log_sums(in, 1.0f, cold, 0, 2);
    kernels.log_sums(in, 0.5f, warm, 0, 2);
    EXPECT_EQ(logits, before);
    const float some[] = {0.5f, -2.0f}, others[] = {0.25f, 3.0f};
    const ScaledSoftmax one{0.5f, warm, some}, other{1.0f, cold, others};
    kernels.softmaxes(in, one, &other, 0, 2);
    for (size_t row = 0; row < 2; ++row) {
      double all_cold = 0, all_warm = 0;
      for (size_t c = 0; c < columns; ++c) {
        all_cold += std::exp(double{before[row * columns + c]});
        all_warm += std::exp(double{before[row * columns + c]} / 2);
      }
      EXPECT_NEAR(cold[row], std::log(all_cold), 1e-5);
      EXPECT_NEAR(warm[row], std::log(all_warm), 1e-5);
      for (size_t c = 0; c < columns; ++c) {
        const double x = before[row * columns + c];
        const double wanted =
            some[row] * std::exp(x / 2) / all_warm + others[row] * std::exp(x) / all_cold;
        // A float32 logarithm of 30 is known to 2e-6, and so are the probabilities made of it.
        ASSERT_NEAR(logits[row * columns + c], wanted, 1e-5 * std::abs(wanted) + 1e-7);
      }
    }
  }
}

TEST_P(CrossEntropyTest, ARowOfNothingSumsToNothing) {
  std::vector<float> logits(33, -INFINITY);
  float sum = 0;
  const LogitRows in{Element::f32, logits.data(), 33};
  cross_entropy_kernels(GetParam()).log_sums(in, 0.5f, &sum, 0, 1);
  EXPECT_EQ(sum, -INFINITY);
  const float zero = 0, factor = 7;
  cross_entropy_kernels(GetParam()).softmaxes(in, {0.5f, &zero, &factor}, nullptr, 0, 1);
  EXPECT_EQ(logits, std::vector<float>(33, 0.0f));
}

INSTANTIATE_TEST_SUITE_P(All, CrossEntropyTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
