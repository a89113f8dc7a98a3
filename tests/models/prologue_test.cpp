#include "models/prologue.h"

#include <ATen/core/Generator.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "tests/models/tolerance.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::tolerance;

struct PrologueShape {
  at::ScalarType type;
  int64_t rows, columns;
};

class PrologueTest : public testing::TestWithParam<PrologueShape> {
 protected:
  at::Tensor random() const {
    return at::randn({GetParam().rows, GetParam().columns}).to(GetParam().type);
  }
};

TEST(RmsNormByHand, ScalesARowToUnitRootMeanSquare) {
  // mean(3^2, 4^2) = 12.5; 3 / sqrt(12.5) = 0.848528, 4 / sqrt(12.5) = 1.131371; weights 1 and 2
  const RmsNorm norm{at::tensor({1.0f, 2.0f}), 0.0};
  const at::Tensor y = rms_norm(at::tensor({3.0f, 4.0f}).reshape({1, 2}), norm);
  EXPECT_NEAR(y[0][0].item<float>(), 0.848528f, 1e-6);
  EXPECT_NEAR(y[0][1].item<float>(), 2.262742f, 1e-6);
}

TEST(SwigluByHand, MultipliesUpByTheSiluOfGate) {
  // silu(1) = 1 / (1 + e^-1) = 0.7310586
  const at::Tensor y = swiglu(at::tensor({1.0f, 0.0f}), at::tensor({2.0f, 5.0f}));
  EXPECT_NEAR(y[0].item<float>(), 1.4621172f, 1e-6);
  EXPECT_EQ(y[1].item<float>(), 0.0f);
}

TEST_P(PrologueTest, RmsNormAgreesWithItsComposition) {
  const RmsNorm norm{at::randn({GetParam().columns}).to(GetParam().type), 1e-5};
  const at::Tensor x = random();
  EXPECT_LE(relative_difference(rms_norm(x, norm), rms_norm_composition(x, norm)),
            tolerance(GetParam().type));
}

TEST_P(PrologueTest, RmsNormGradientsAgreeWithAutograd) {
  const at::Tensor x = random().requires_grad_(), dy = random();
  RmsNorm norm{at::randn({GetParam().columns}).to(GetParam().type).requires_grad_(), 1e-5};
  rms_norm_composition(x, norm).backward(dy);
  const at::Tensor expected_dx = x.grad(), expected_dw = norm.weight.grad().clone();
  norm.weight.mutable_grad() = at::Tensor();
  const at::Tensor dx = rms_norm_backward(x.detach(), norm, dy);
  EXPECT_LE(relative_difference(dx, expected_dx), tolerance(GetParam().type));
  EXPECT_LE(relative_difference(norm.weight.grad(), expected_dw), tolerance(GetParam().type));
}

TEST_P(PrologueTest, SwigluAndItsGradientsAgreeWithAutograd) {
  const at::Tensor gate = random().requires_grad_(), up = random().requires_grad_();
  const at::Tensor dy = random();
  const at::Tensor expected = swiglu_composition(gate, up);
  expected.backward(dy);
  EXPECT_LE(relative_difference(swiglu(gate.detach(), up.detach()), expected.detach()),
            tolerance(GetParam().type));
  const SwigluGradients gradients = swiglu_backward(gate.detach(), up.detach(), dy);
  EXPECT_LE(relative_difference(gradients.gate, gate.grad()), tolerance(GetParam().type));
  EXPECT_LE(relative_difference(gradients.up, up.grad()), tolerance(GetParam().type));
}

TEST(Swiglu, SurvivesExtremeGates) {
  const at::Tensor gate = at::tensor({-1e30f, -200.0f, 200.0f, 88.9f});
  const at::Tensor y = swiglu(gate, at::tensor({1.0f, 1.0f, 1.0f, 1.0f}));
  EXPECT_NEAR(y[0].item<float>(), 0.0f, 1e-6);
  EXPECT_NEAR(y[1].item<float>(), 0.0f, 1e-6);
  EXPECT_EQ(y[2].item<float>(), 200.0f);
  EXPECT_NEAR(y[3].item<float>(), 88.9f, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    TypesAndOddSizes, PrologueTest,
    testing::Values(PrologueShape{at::kFloat, 1, 5}, PrologueShape{at::kFloat, 3, 17},
                    PrologueShape{at::kFloat, 700, 72}, PrologueShape{at::kBFloat16, 5, 33},
                    PrologueShape{at::kBFloat16, 600, 64}, PrologueShape{at::kDouble, 7, 19},
                    PrologueShape{at::kHalf, 4, 40}));

}  // namespace
}  // namespace isogrid
