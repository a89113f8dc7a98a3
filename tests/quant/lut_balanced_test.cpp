#include "quant/lut_balanced.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/quant/bits.h"
#include "tests/quant/gradient_check.h"

namespace isogrid {
namespace {

using test::gap;
using test::same_bits;

at::Tensor served_balanced(const WeightSource& source, at::ScalarType type) {
  at::Tensor out = at::empty({source.outputs(), source.inputs()}, type);
  source.materialise(out, 0, source.outputs(), nullptr);
  return out;
}

at::Tensor raw_clip(double clip) { return at::tensor({raw_of_clip(clip - 1e-8)}, at::kDouble); }

// Size 2 with clip 1 and 2 bits: steps of 1.
const std::vector<double> kUnits{-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2};

at::Tensor units() { return at::tensor(kUnits, at::kDouble).reshape({1, 9}); }

at::Tensor row(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).reshape({1, static_cast<int64_t>(values.size())});
}

TEST(Balanced, TheReferenceVectorOfTwoBits) {
  BalancedWeight weight(units().requires_grad_(), raw_clip(1.0).requires_grad_(), 2);
  EXPECT_NEAR(weight.scale(), 1.0, 1e-15);
  const at::Tensor got = served_balanced(weight, at::kDouble);
  EXPECT_LE(gap(got, row({-1.5, -1.5, -.5, -.5, -.5, .5, 1.5, 1.5, 1.5})), 1e-12);
  EXPECT_TRUE(
      weight.codes().equal(at::tensor({0, 0, 1, 1, 1, 2, 3, 3, 3}, at::kByte).reshape({1, 9})));

  weight.accumulate(row(std::vector<double>(9, 1.0)));
  at::Tensor d_latent, d_raw;
  weight.visit("w", Role::weight, [&](const TensorSlot& slot) {
    (slot.role == Role::factor ? d_raw : d_latent) = slot.tensor->grad();
  });
  EXPECT_TRUE(d_latent.equal(row({0, 1, 1, 1, 1, 1, 1, 1, 1})));
  // d_scale is the sum of -1.5, 0, .5, 0, -.5, 0, .5, 0, -.5; scale = clip * 2 / 2.
  const double d_clip = -1.5;
  const double sigmoid = 1 - std::exp(-1.0);  // of the raw clip whose softplus is 1
  EXPECT_NEAR(d_raw[0].item<double>(), d_clip * sigmoid, 1e-7);
}

TEST(Balanced, TheScalesGradientPointByPoint) {
  const std::vector<double> wanted{-1.5, 0, .5, 0, -.5, 0, .5, 0, -.5};
  for (size_t i = 0; i < kUnits.size(); ++i) {
    BalancedWeight weight(units(), raw_clip(1.0).requires_grad_(), 2);
    at::Tensor d = row(std::vector<double>(9, 0.0));
    d[0][static_cast<int64_t>(i)] = 1.0;
    weight.accumulate(d);
    weight.visit("w", Role::weight, [&](const TensorSlot& slot) {
      if (slot.role != Role::factor) return;
      EXPECT_NEAR(slot.tensor->grad()[0].item<double>(), wanted[i] * (1 - std::exp(-1.0)), 1e-7);
    });
  }
}

TEST(Balanced, FourBitsReachSevenAndAHalfSteps) {
  const at::Tensor latent = at::randn({20, 30});
  const BalancedWeight weight(latent, at::tensor({0.0f}), 4);
  const auto scale = static_cast<float>(weight.scale());
  const at::Tensor steps = served_balanced(weight, at::kFloat) / scale;
  EXPECT_NEAR(steps.abs().max().item<float>(), 7.5f, 1e-5);
  EXPECT_TRUE((steps - 0.5).round().allclose(steps - 0.5, 0, 1e-5));
  EXPECT_NEAR(scale, std::log(2.0) * latent.abs().max().item<float>() / 8, 1e-6);
}

TEST(Balanced, RowsAndPartsAreThoseOfTheWeight) {
  const BalancedWeight weight(at::randn({20, 30}), at::tensor({0.3f}), 2);
  const at::Tensor whole = served_balanced(weight, at::kFloat);
  at::Tensor some = at::empty({4, 30}, at::kFloat);
  weight.materialise(some, 7, 11, nullptr);
  EXPECT_TRUE(same_bits(some, whole.slice(0, 7, 11)));
  const at::Tensor ids = at::tensor({19, 2}, at::kLong);
  EXPECT_TRUE(same_bits(weight.rows(ids, at::kFloat), whole.index_select(0, ids)));
}

TEST(Balanced, RawAndClipAreInverse) {
  for (const double clip : {1e-4, 0.3, 0.693, 1.0}) {
    EXPECT_NEAR(std::log1p(std::exp(raw_of_clip(clip))), clip, 1e-12);
  }
}

// Of Gaussian weights the best clip is at 1.98 standard deviations with 2 bits, 2.72 with 4.
TEST(Balanced, NewtonFindsTheBestClipOfGaussianWeights) {
  const at::Tensor weight = at::randn({400, 400});
  const double largest = weight.abs().max().item<double>();
  EXPECT_NEAR(starting_clip(weight, 2, ClipStart::newton, 1) * largest, 1.98, 0.08);
  EXPECT_NEAR(starting_clip(weight, 4, ClipStart::newton, 1) * largest, 2.72, 0.12);
  EXPECT_EQ(starting_clip(weight, 2, ClipStart::newton, 1),
            starting_clip(weight, 2, ClipStart::newton, 1));
  EXPECT_NEAR(starting_clip(weight, 2, ClipStart::percentile, 1) * largest, 2.81, 0.05);
  EXPECT_NEAR(starting_clip(weight, 2, ClipStart::grid, 1) * largest, 2.58, 0.06);
}

TEST(Balanced, AWeightOfZerosHasAClip) {
  const at::Tensor zeros = at::empty({3, 4}, at::kFloat).zero_();
  EXPECT_EQ(starting_clip(zeros, 2, ClipStart::newton, 1), 1.0);
  const BalancedWeight weight(zeros, at::tensor({0.0f}), 2);
  EXPECT_LT(served_balanced(weight, at::kFloat).abs().max().item<float>(), 1e-7f);
}

}  // namespace
}  // namespace isogrid
