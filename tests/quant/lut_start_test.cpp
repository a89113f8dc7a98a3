#include "quant/lut_start.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "quant/group_scales.h"
#include "quant/lut_convert.h"
#include "tests/quant/bits.h"
#include "tests/quant/gradient_check.h"

namespace isogrid {
namespace {

using test::gap;
using test::same_bits;

/// Gaussian with rows and columns of very different size, as trained weights have.
at::Tensor uneven_weight(int64_t rows, int64_t columns) {
  return at::randn({rows, columns}) * (at::randn({rows, 1}) * 0.5).exp() *
         (at::randn({1, columns}) * 0.5).exp() * 0.02;
}

at::Tensor served(const WeightSource& source) { return whole_weight(source, at::kFloat, at::kCPU); }

TEST(GroupScales, TheLargestMagnitudeOfEachGroup) {
  const at::Tensor weight = at::tensor({1.0f, -3.0f, 0.5f, 0.0f, 0.0f}).reshape({1, 5});
  EXPECT_TRUE(
      largest_group_scales(weight, 2).equal(at::tensor({3.0f, 0.5f, 1e-8f}).reshape({1, 3})));
}

// The best clip of Gaussian weights for +-1/3, +-1 is 1.49 deviations: 0.75 * 1.98.
TEST(GroupScales, TheBestScaleOfGaussianWeights) {
  const at::Tensor scales =
      best_group_scales(at::randn({4, 20000}), 20000, uniform_table(2), at::Tensor());
  for (int64_t row = 0; row < 4; ++row) EXPECT_NEAR(scales[row][0].item<double>(), 1.49, 0.05);
}

TEST(GroupScales, ImportanceDecidesWhoseErrorCounts) {
  const at::Tensor weight = at::tensor({1.0f, 0.2f, 0.2f, 0.2f}).reshape({1, 4});
  const at::Tensor importance = at::tensor({0.0f, 1.0f, 1.0f, 1.0f});
  const double scale =
      best_group_scales(weight, 4, uniform_table(2), importance)[0][0].item<double>();
  EXPECT_NEAR(std::min(std::abs(scale - 0.2), std::abs(scale * 0.33349609375 - 0.2)), 0, 1e-4);
}

// The short way through the groups must give what the whole matrix gives, last group short too.
TEST(GroupScales, DirectionsAreTheSingularVectorsOfTheSpreadScales) {
  const at::Tensor scales = at::rand({20, 4}) + 0.1;
  const at::Tensor spread = scales.repeat_interleave(8, 1).slice(1, 0, 29);
  const ScaleDirections d = scale_directions(scales, 8, 29, 3, 0, 1);
  const auto [u, s, v] = at::linalg_svd(spread, false);
  EXPECT_LE(gap(d.g, s.slice(0, 0, 3)), 1e-5);
  const at::Tensor wanted = at::matmul(u.slice(1, 0, 3) * s.slice(0, 0, 3), v.slice(0, 0, 3));
  EXPECT_LE(gap(at::matmul(d.a * d.g, d.b), wanted), 1e-4);
  EXPECT_LE(gap(d.b.norm(2, {1}), at::tensor({1.0f, 1.0f, 1.0f})), 1e-5);
}

TEST(GroupScales, FurtherDirectionsAreUnitAndOrthogonal) {
  const ScaleDirections d = scale_directions(at::rand({20, 2}) + 0.1, 16, 32, 6, 0.01, 1);
  const at::Tensor square = at::matmul(d.a.t(), d.a), other = at::matmul(d.b, d.b.t());
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t j = 0; j < 6; ++j) {
      EXPECT_NEAR(square[i][j].item<double>(), i == j ? 1 : 0, 1e-5);
      EXPECT_NEAR(other[i][j].item<double>(), i == j ? 1 : 0, 1e-5);
    }
  EXPECT_NEAR(d.g[5].item<double>() / d.g[0].item<double>(), 0.01, 1e-6);
  EXPECT_TRUE(same_bits(d.a, d.a));
}

double start_error(const at::Tensor& weight, LutStart start, int bits, int64_t rank,
                   const at::Tensor& importance = {}) {
  LutStartOptions options;
  options.bits = bits;
  options.rank = rank;
  options.group = 16;
  options.start = start;
  options.importance = importance;
  const LutV2Weight source("w", start_lut_v2("w", weight, options), {});
  return weighted_error(served(source), weight, importance);
}

TEST(LutStartTest, EachStartIsBetterThanTheOneBefore) {
  for (const int bits : {2, 4}) {
    const at::Tensor weight = uneven_weight(96, 128);
    const double largest = start_error(weight, LutStart::max_abs, bits, 6);
    const double mse = start_error(weight, LutStart::mse, bits, 6);
    const double als = start_error(weight, LutStart::als, bits, 6);
    const double kmeans = start_error(weight, LutStart::kmeans, bits, 6);
    EXPECT_LE(mse, largest * 1.001) << bits;
    EXPECT_LT(als, mse * 0.95) << bits;
    EXPECT_LE(kmeans, als * 1.001) << bits;
  }
}

TEST(LutStartTest, ImportanceLowersTheErrorItWeighs) {
  const at::Tensor weight = uneven_weight(64, 96);
  const at::Tensor importance = (at::randn({96}) * 2).exp();
  LutStartOptions blind;
  blind.bits = 2;
  blind.rank = 4;
  const LutV2Weight plain("w", start_lut_v2("w", weight, blind), {});
  EXPECT_LT(start_error(weight, LutStart::als, 2, 4, importance),
            weighted_error(served(plain), weight, importance));
}

TEST(LutStartTest, TheFitNeverEndsWorse) {
  const at::Tensor weight = uneven_weight(40, 64);
  const ScaleDirections d = scale_directions(largest_group_scales(weight, 16), 16, 64, 4, 1e-4, 1);
  LutFactors start;
  start.bits = 2;
  start.table = uniform_table(2);
  start.left = d.a * d.g;
  start.right = d.b;
  double before = INFINITY;
  for (const int sweeps : {0, 1, 2, 6}) {
    LutFitOptions options;
    options.sweeps = sweeps;
    options.table = TableFit::free;
    const LutFactors fitted = fitted_factors(weight, start, options);
    at::Tensor out = weight.clone();
    lut_expand(fitted, out, 0, 40);
    const double error = weighted_error(out, weight, {});
    EXPECT_LE(error, before * 1.0001);
    before = error;
  }
}

// Scales of rank one times four values are found again, but for a few codes.
TEST(LutStartTest, AWeightOfTheFormIsNearlyFound) {
  at::manual_seed(7);
  const at::Tensor scales = (at::rand({30, 1}) + 0.5) * (at::rand({1, 64}) + 0.5);
  const at::Tensor codes = at::rand({30, 64}).mul(4).floor().clamp(0, 3).to(at::kLong);
  const at::Tensor weight =
      uniform_table(2).index_select(0, codes.reshape({-1})).view({30, 64}) * scales;
  EXPECT_LT(start_error(weight, LutStart::als, 2, 2), 2e-2);
}

TEST(LutStartTest, TheTableOfTwoClustersIsTheirMeans) {
  const at::Tensor units = at::tensor({-1.0f, -0.9f, -0.3f, -0.3f, 0.3f, 0.3f, 0.9f, 1.0f});
  const at::Tensor table = fitted_table(units, at::rand({8}) * 0 + 1, 4, TableFit::symmetric);
  EXPECT_TRUE(table.allclose(at::tensor({-0.95f, -0.3f, 0.3f, 0.95f})));
  const at::Tensor heavy = at::tensor({9.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f});
  EXPECT_NEAR(fitted_table(units, heavy, 4, TableFit::free)[0].item<double>(), -0.99, 1e-6);
}

TEST(LutStartTest, ARankAboveTheLayersIsRefusedByName) {
  LutStartOptions options;
  options.rank = 9;
  try {
    start_lut_v2("layers.1.k_proj", at::randn({8, 64}), options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::configuration);
    EXPECT_NE(std::string(error.what()).find("layers.1.k_proj"), std::string::npos);
  }
}

TEST(LutStartTest, PresetsHaveOneTable) {
  EXPECT_EQ(lut_preset("q2a4").mlp_bits, 2);
  EXPECT_EQ(lut_preset("q2a4").attention_rank, 8);
  EXPECT_EQ(lut_preset("q4a4_r32").attention_rank, 32);
  EXPECT_THROW(lut_preset("q3a3"), Error);
}

TEST(LutConvert, V2ServesWhatV1Served) {
  LutStartOptions options;
  options.rank = 4;
  options.group = 16;
  options.start = LutStart::mse;
  const at::Tensor weight = uneven_weight(64, 96);
  const LutV1Weight v1("w", start_lut_v1("w", weight, options));
  const LutV2Weight exact("w", v2_of_v1("w", v1, false), {.half = false});
  const LutV2Weight half("w", v2_of_v1("w", v1, true), {});
  const double error = weighted_error(served(v1), weight, {});
  EXPECT_LE(weighted_error(served(exact), served(v1), {}), 1e-4 * error);
  EXPECT_LE(weighted_error(served(half), served(v1), {}), 1e-3 * error);
}

TEST(LutConvert, TheOldRuleForFourValues) {
  const at::Tensor from_uniform = four_of_sixteen(uniform_table(4));
  EXPECT_TRUE(from_uniform.allclose(at::tensor({-0.7334f, -0.2002f, 0.2668f, 0.8f}), 0, 1e-4));
  const at::Tensor dense =
      at::tensor({-2.0f, -1.0f, -0.75f, -0.5f, -0.375f, -0.25f, -0.125f, -0.0625f, 0.0625f, 0.125f,
                  0.25f, 0.375f, 0.5f, 0.75f, 1.0f, 2.0f});
  EXPECT_TRUE(four_of_sixteen(dense).allclose(at::tensor({-1.5f, -0.344f, 0.344f, 1.5f}), 0, 1e-3));
}

// The old conversion: its four values, random new ranks, codes anew. Ours errs far less.
TEST(LutConvert, NarrowingFitsTableAndScalesAgain) {
  const at::Tensor weight = uneven_weight(96, 128);
  LutStartOptions options;
  options.rank = 4;
  options.group = 16;
  const LutV2Weight four("w", start_lut_v2("w", weight, options), {});
  LutV2Parts old = widened(four.parts(), 16, 0.01, 3);
  old.table.values = four_of_sixteen(four.parts().table.values);
  old.codes = at::empty({96, 32}, at::kByte).zero_();
  LutV2Weight old_way("w", old, {});
  old_way.take_codes_of(weight);
  LutNarrowing to;
  to.rank = 16;
  const LutV2Weight two("w", narrowed("w", four, weight, to), {});
  EXPECT_EQ(two.parts().bits(), 2);
  EXPECT_EQ(two.parts().g.size(0), 16);
  EXPECT_LT(weighted_error(served(two), weight, {}),
            0.6 * weighted_error(served(old_way), weight, {}));
  to.rank = 2;
  EXPECT_EQ(narrowed("w", four, weight, to).g.size(0), 2);
}

TEST(LutConvert, WideningChangesAlmostNothing) {
  const at::Tensor weight = uneven_weight(64, 96);
  LutStartOptions options;
  options.rank = 4;
  const LutV2Weight before("w", start_lut_v2("w", weight, options), {});
  const LutV2Weight after("w", widened(before.parts(), 12, 1e-5, 3), {});
  EXPECT_LE(weighted_error(served(after), served(before), {}), 1e-5);
}

}  // namespace
}  // namespace isogrid
