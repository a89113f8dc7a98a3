// Every kernel, compiled for every instruction set this processor has, against plain loops in
// double.
#include <cmath>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/matvec.h"
#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

void expect_near(const std::vector<float>& got, const std::vector<double>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  double scale = 0;
  for (const double value : wanted) scale = std::max(scale, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], wanted[i], 3e-6 * std::max(scale, 1e-6)) << "at " << i;
}

TEST_P(InstructionSetTest, RmsNorm) {
  for (const int64_t columns : {1, 15, 16, 17, 100}) {
    const auto n = static_cast<size_t>(columns);
    const auto x = random(3 * n), weight = random(n);
    std::vector<float> y(x.size());
    elementwise_kernels(GetParam())
        .rms_norm(Element::f32, x.data(), weight.data(), y.data(), 0, 3, columns, 1e-5f);
    std::vector<double> wanted;
    for (size_t row = 0; row < 3; ++row) {
      double squares = 0;
      for (size_t c = 0; c < n; ++c) squares += double{x[row * n + c]} * x[row * n + c];
      for (size_t c = 0; c < n; ++c)
        wanted.push_back(x[row * n + c] / std::sqrt(squares / static_cast<double>(n) + 1e-5) *
                         weight[c]);
    }
    expect_near(y, wanted);
  }
}

TEST_P(InstructionSetTest, Swiglu) {
  const auto gate = random(77), up = random(77);
  std::vector<float> y(77);
  elementwise_kernels(GetParam()).swiglu(Element::f32, gate.data(), up.data(), y.data(), 0, 7, 11);
  std::vector<double> wanted;
  for (size_t i = 0; i < 77; ++i)
    wanted.push_back(gate[i] / (1 + std::exp(-double{gate[i]})) * up[i]);
  expect_near(y, wanted);
}

TEST_P(InstructionSetTest, RotationTurnsPairsByTheirAngle) {
  const auto x = random(2 * 3 * 10);
  const auto angles = random(2 * 5);
  std::vector<float> cosine, sine, y(x.size());
  for (const float angle : angles) {
    cosine.push_back(std::cos(angle));
    sine.push_back(std::sin(angle));
  }
  elementwise_kernels(GetParam())
      .norm_rope(Element::f32, x.data(), nullptr, cosine.data(), sine.data(), y.data(), 0, 2, 3, 10,
                 0.0f);
  std::vector<double> wanted(x.size());
  for (size_t row = 0; row < 6; ++row)
    for (size_t c = 0; c < 5; ++c) {
      const double a = x[row * 10 + c], b = x[row * 10 + 5 + c], t = angles[row / 3 * 5 + c];
      wanted[row * 10 + c] = a * std::cos(t) - b * std::sin(t);
      wanted[row * 10 + 5 + c] = b * std::cos(t) + a * std::sin(t);
    }
  expect_near(y, wanted);
}

TEST_P(InstructionSetTest, Matvec) {
  for (const int64_t inputs : {5, 32, 129})
    for (const int64_t rows : {1, 8, 11}) {
      const auto k = static_cast<size_t>(inputs), r = static_cast<size_t>(rows);
      const auto x = random(r * k), weight = random(9 * k), addend = random(r * 9);
      std::vector<float> y(r * 9);
      matvec_kernels(GetParam())
          .matvec(Element::f32, x.data(), weight.data(), addend.data(), y.data(), rows, inputs, 9,
                  0, 9);
      std::vector<double> wanted;
      for (size_t row = 0; row < r; ++row)
        for (size_t n = 0; n < 9; ++n) {
          double sum = addend[row * 9 + n];
          for (size_t i = 0; i < k; ++i) sum += double{x[row * k + i]} * weight[n * k + i];
          wanted.push_back(sum);
        }
      expect_near(y, wanted);
    }
}

INSTANTIATE_TEST_SUITE_P(All, InstructionSetTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
