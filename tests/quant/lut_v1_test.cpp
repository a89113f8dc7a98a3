#include "quant/lut_v1.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/error.h"
#include "quant/packed_codes.h"
#include "tests/quant/bits.h"
#include "tests/quant/gradient_check.h"

namespace isogrid {
namespace {

using test::difference_quotient;
using test::gap;
using test::same_bits;

at::Tensor served_v1(const WeightSource& source, at::ScalarType type) {
  at::Tensor out = at::empty({source.outputs(), source.inputs()}, type);
  source.materialise(out, 0, source.outputs(), nullptr);
  return out;
}

/// Scales of about one, some of them below the least.
LutV1Parts random_v1(int64_t rows, int64_t columns, int64_t rank, int bits, at::ScalarType type) {
  LutV1Parts parts;
  parts.latent = at::randn({rows, columns}).to(type) * 0.5;
  parts.table.values = uniform_table(bits).to(type);
  parts.a = (at::rand({rows, rank}) - 0.1).to(type);
  parts.b = (at::rand({rank, columns}) - 0.1).to(type);
  return parts;
}

// Scale 2: 0.9 / 2 = 0.45 -> (1.45) / (2/3) = 2.175 -> code 2, value 0.33349609375 * 2.
TEST(LutV1, AHandWorkedWeight) {
  LutV1Parts parts;
  parts.latent = at::tensor({0.9f, -3.0f, 1.6f}).reshape({1, 3});
  parts.table.values = uniform_table(2);
  parts.a = at::tensor({2.0f}).reshape({1, 1});
  parts.b = at::tensor({1.0f, 1.0f, -1.0f}).reshape({1, 3});
  const LutV1Weight weight("w", parts);
  const at::Tensor got = served_v1(weight, at::kFloat);
  EXPECT_FLOAT_EQ(got[0][0].item<float>(), 0.6669921875f);
  EXPECT_EQ(got[0][1].item<float>(), -2.0f);
  EXPECT_EQ(got[0][2].item<float>(), 1e-8f);  // the scale is lifted from -2
}

TEST(LutV1, ScalesTakeTheirGradientWithCodesHeldFixed) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat})
    for (const int bits : {2, 4}) {
      LutV1Weight weight("w", random_v1(40, 33, 4, bits, type));
      LutV1Parts& p = weight.parts();
      at::Tensor* const leaves[] = {&p.a, &p.b, &p.table.values};
      for (at::Tensor* leaf : leaves) leaf->requires_grad_();
      const at::Tensor codes = weight.codes().reshape({-1}).to(at::kLong);
      const at::Tensor scales = at::matmul(p.a, p.b).clamp_min(kLeastV1Scale);
      const at::Tensor wanted = p.table.values.index_select(0, codes).view({40, 33}) * scales;
      const double close = type == at::kDouble ? 1e-12 : 2e-5;
      EXPECT_LE(gap(served_v1(weight, type), wanted), close);
      const at::Tensor d = at::randn({40, 33}).to(type);
      torch::autograd::backward({wanted}, {d});
      std::vector<at::Tensor> gradients;
      for (at::Tensor* leaf : leaves) {
        gradients.push_back(leaf->grad().clone());
        leaf->mutable_grad() = at::Tensor();
      }
      weight.accumulate(d);
      for (size_t i = 0; i < 3; ++i) EXPECT_LE(gap(leaves[i]->grad(), gradients[i]), close) << i;
    }
}

TEST(LutV1, TheLatentWeightTakesTheGradientAsItIs) {
  LutV1Weight weight("w", random_v1(6, 8, 2, 4, at::kFloat));
  weight.parts().latent.requires_grad_();
  const at::Tensor d = at::randn({6, 8});
  weight.accumulate(d);
  EXPECT_TRUE(same_bits(weight.parts().latent.grad(), d));
}

/// What straight-through rounding means for the scales: s * round(w / s) with d round(u) / du = 1
/// inside the table. As a smooth stand-in the rounding error of each weight is held fixed.
TEST(LutV1, BesideATrainedWeightScalesTakeWhatRoundingLeaves) {
  LutV1Weight weight("w", random_v1(5, 7, 2, 4, at::kDouble));
  LutV1Parts& p = weight.parts();
  for (at::Tensor* leaf : {&p.latent, &p.a, &p.b}) leaf->requires_grad_();
  const at::Tensor d = at::randn({5, 7}, at::kDouble);
  weight.accumulate(d);
  const at::Tensor scales = weight.scales(), units = p.latent.detach() / scales;
  const at::Tensor values =
      p.table.values.index_select(0, weight.codes().reshape({-1}).to(at::kLong)).view({5, 7});
  const at::Tensor inside = units.abs().le(1.0);
  const at::Tensor error = values - units * inside;
  const auto loss = [&] {
    // s * (w / s + error) inside, s * error beyond.
    const at::Tensor s = weight.scales();
    return ((p.latent.detach() * inside + s * error) * d).sum().item<double>();
  };
  EXPECT_LE(gap(p.a.grad(), difference_quotient(p.a.detach(), loss)), 1e-7);
  EXPECT_LE(gap(p.b.grad(), difference_quotient(p.b.detach(), loss)), 1e-7);
}

TEST(LutV1, RowsAndPartsAreThoseOfTheWeight) {
  const LutV1Weight weight("w", random_v1(60, 21, 3, 2, at::kFloat));
  const at::Tensor whole = served_v1(weight, at::kFloat);
  at::Tensor some = at::empty({4, 21}, at::kFloat);
  weight.materialise(some, 7, 11, nullptr);
  EXPECT_TRUE(same_bits(some, whole.slice(0, 7, 11)));
  const at::Tensor ids = at::tensor({59, 2}, at::kLong);
  EXPECT_TRUE(same_bits(weight.rows(ids, at::kFloat), whole.index_select(0, ids)));
}

TEST(LutV1, PartsThatDoNotFitAreRefusedByName) {
  LutV1Parts parts = random_v1(4, 6, 2, 4, at::kFloat);
  parts.b = at::randn({2, 7});
  EXPECT_THROW(LutV1Weight("layers.0.up_proj", parts), Error);
}

}  // namespace
}  // namespace isogrid
