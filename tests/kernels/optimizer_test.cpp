#include "kernels/optimizer.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

using OptimizerTest = InstructionSetTest;

constexpr size_t kCount = 37;  // two whole vectors and a tail

// First step: the moments are (1 - beta) g and (1 - beta2) g^2, the corrections divide both out,
// so p moves by lr * g / (|g| + eps), after shrinking by lr * decay.
TEST_P(OptimizerTest, TheFirstAdamwStepMovesByTheLearningRate) {
  std::vector<float> p(kCount, 2.0f), g(kCount, -0.5f), m(kCount), v(kCount);
  const AdamwSettings how{
      .learning_rate = 0.1, .weight_decay = 0.5, .correction1 = 1 - 0.9, .correction2 = 1 - 0.999};
  optimizer_kernels(GetParam())
      .adamw({.master = p.data(), .gradient = g.data()}, how, m.data(), v.data(), 0, kCount);
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_NEAR(p[i], 2.0 * 0.95 + 0.1, 1e-6);
    EXPECT_NEAR(m[i], -0.05, 1e-8);
    EXPECT_NEAR(v[i], 0.00025, 1e-9);
  }
}

TEST_P(OptimizerTest, ManyAdamwStepsFollowTheFormulaInDouble) {
  auto p = random(kCount);
  std::vector<double> wide(p.begin(), p.end()), wide_m(kCount), wide_v(kCount);
  std::vector<float> m(kCount), v(kCount);
  AdamwSettings how{.learning_rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.1};
  for (int step = 1; step <= 20; ++step) {
    const auto g = random(kCount);
    how.correction1 = 1 - std::pow(how.beta1, step);
    how.correction2 = 1 - std::pow(how.beta2, step);
    const Trained what{.master = p.data(), .gradient = g.data(), .gradient_scale = 0.5f};
    optimizer_kernels(GetParam()).adamw(what, how, m.data(), v.data(), 0, 5);
    optimizer_kernels(GetParam()).adamw(what, how, m.data(), v.data(), 5, kCount);
    for (size_t i = 0; i < kCount; ++i) {
      const double gradient = 0.5 * g[i];
      wide_m[i] = how.beta1 * wide_m[i] + (1 - how.beta1) * gradient;
      wide_v[i] = how.beta2 * wide_v[i] + (1 - how.beta2) * gradient * gradient;
      wide[i] -= how.learning_rate * how.weight_decay * wide[i];
      wide[i] -= how.learning_rate * wide_m[i] / how.correction1 /
                 (std::sqrt(wide_v[i] / how.correction2) + how.eps);
    }
  }
  for (size_t i = 0; i < kCount; ++i) ASSERT_NEAR(p[i], wide[i], 2e-6);
}

TEST_P(OptimizerTest, TheWorkingCopyIsTheMasterRounded) {
  std::vector<float> p(kCount, 1.0f), g(kCount, 1.0f), m(kCount), v(kCount);
  std::vector<uint16_t> bf16(kCount), f16(kCount);
  const AdamwSettings how{.learning_rate = 0.3, .correction1 = 0.1, .correction2 = 0.001};
  Trained what{
      .master = p.data(), .working = bf16.data(), .element = Element::bf16, .gradient = g.data()};
  optimizer_kernels(GetParam()).adamw(what, how, m.data(), v.data(), 0, kCount);
  what.working = f16.data();
  what.element = Element::f16;
  std::fill(p.begin(), p.end(), 1.0f);
  std::fill(m.begin(), m.end(), 0.0f);
  std::fill(v.begin(), v.end(), 0.0f);
  optimizer_kernels(GetParam()).adamw(what, how, m.data(), v.data(), 0, kCount);
  for (size_t i = 0; i < kCount; ++i) {
    EXPECT_NEAR(p[i], 0.7f, 1e-6);
    EXPECT_EQ(bf16[i], 0x3f33);  // 0.69921875
    EXPECT_EQ(f16[i], 0x399a);   // 0.7001953125
  }
}

TEST_P(OptimizerTest, WithoutAMasterTheWorkingCopyIsTrained) {
  std::vector<uint16_t> p(kCount, 0x3f80);  // 1 in bfloat16
  std::vector<float> g(kCount, 1.0f), momentum(kCount);
  const Trained what{.working = p.data(), .element = Element::bf16, .gradient = g.data()};
  optimizer_kernels(GetParam())
      .lion(what, {.learning_rate = 0.25, .weight_decay = 1.0}, momentum.data(), 0, kCount);
  for (size_t i = 0; i < kCount; ++i) EXPECT_EQ(p[i], 0x3f00);  // 0.75 - 0.25
}

// g = 1, -2, 0: the direction is a sign, zero where both momentum and gradient are.
TEST_P(OptimizerTest, LionMovesByTheSignOfItsMomentum) {
  std::vector<float> p{1, 1, 1}, g{1, -2, 0}, momentum{-1, 1, 0};
  const LionSettings how{.learning_rate = 0.1, .beta1 = 0.25, .beta2 = 0.5};
  optimizer_kernels(GetParam())
      .lion({.master = p.data(), .gradient = g.data()}, how, momentum.data(), 0, 3);
  // directions 0.25 * -1 + 0.75 * 1 > 0, 0.25 - 1.5 < 0, 0
  EXPECT_EQ(p, (std::vector<float>{0.9f, 1.1f, 1.0f}));
  EXPECT_EQ(momentum, (std::vector<float>{0.0f, -0.5f, 0.0f}));
}

// lr 0.5, momentum 0.5: buffers 1, then 0.5 * 1 + 3 = 3.5; plain p: 8 - 0.5 - 1.75;
// Nesterov directions 1 + 0.5 * 1 and 3 + 0.5 * 3.5.
TEST_P(OptimizerTest, SgdWithMomentumByHand) {
  const OptimizerKernels& kernels = optimizer_kernels(GetParam());
  for (const bool nesterov : {false, true}) {
    float p = 8, momentum = 99, g = 1;
    SgdSettings how{
        .learning_rate = 0.5, .momentum = 0.5, .nesterov = nesterov, .first_step = true};
    kernels.sgd({.master = &p, .gradient = &g}, how, &momentum, 0, 1);
    how.first_step = false;
    g = 3;
    kernels.sgd({.master = &p, .gradient = &g}, how, &momentum, 0, 1);
    EXPECT_EQ(momentum, 3.5f);
    EXPECT_EQ(p, nesterov ? 8 - 0.75f - 2.375f : 8 - 0.5f - 1.75f);
  }
  float p = 2, g = 1;
  kernels.sgd({.master = &p, .gradient = &g}, {.learning_rate = 0.5, .weight_decay = 0.25}, nullptr,
              0, 1);
  EXPECT_EQ(p, 2 - 0.5f * (1 + 0.25f * 2));
}

TEST(MomentCode, IsTheDynamicMapOfSevenDecades) {
  const float *both = moment_code(true), *positive = moment_code(false);
  EXPECT_EQ(both[zero_code(true)], 0.0f);
  EXPECT_EQ(positive[zero_code(false)], 0.0f);
  EXPECT_EQ(both[255], 1.0f);
  EXPECT_EQ(positive[255], 1.0f);
  EXPECT_FLOAT_EQ(both[128], 0.55e-6f);  // the lowest decade holds one value of each sign
  EXPECT_FLOAT_EQ(both[126], -0.55e-6f);
  EXPECT_FLOAT_EQ(both[0], -(1.0f - 0.9f / 128));  // the highest holds 64 of each
  EXPECT_FLOAT_EQ(positive[1], 0.325e-6f);
  EXPECT_FLOAT_EQ(positive[254], 1.0f - 0.9f / 256);
  for (int i = 1; i < 256; ++i) {
    EXPECT_LT(both[i - 1], both[i]);
    EXPECT_LT(positive[i - 1], positive[i]);
  }
}

/// The nearest value by trying all, the smaller of two equally near ones.
uint8_t slow_code(bool with_sign, float ratio) {
  const float* values = moment_code(with_sign);
  int best = 0;
  for (int i = 1; i < 256; ++i)
    if (std::abs(double{values[i]} - ratio) < std::abs(double{values[best]} - ratio)) best = i;
  if (best == zero_code(with_sign) && std::signbit(ratio)) --best;
  return static_cast<uint8_t>(best);
}

// With beta 0 the moments are g and g^2; the scale of a block is its largest magnitude.
TEST_P(OptimizerTest, CodedMomentsAreTheNearestOfTheirBlock) {
  const size_t count = 3 * kMomentBlock + 70;
  auto g = random(count);
  const auto exponents = random(count);
  for (size_t i = 0; i < count; ++i) g[i] *= std::exp(6 * exponents[i]);
  std::fill(g.begin() + kMomentBlock, g.begin() + 2 * kMomentBlock, 0.0f);
  std::vector<float> p(count), scales(8);
  std::vector<uint8_t> codes(2 * count);
  const CodedMoment m{codes.data(), scales.data()}, v{codes.data() + count, scales.data() + 4};
  const AdamwSettings how{.learning_rate = 0.1, .beta1 = 0, .beta2 = 0};
  optimizer_kernels(GetParam())
      .adamw_coded({.master = p.data(), .gradient = g.data()}, how, m, v, 0,
                   static_cast<int64_t>(count));
  for (size_t block = 0; block < 4; ++block) {
    const size_t begin = block * kMomentBlock, end = std::min(count, begin + kMomentBlock);
    float largest = 0;
    for (size_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(g[i]));
    EXPECT_EQ(m.scale[block], largest);
    EXPECT_EQ(v.scale[block], largest * largest);
    for (size_t i = begin; i < end; ++i) {
      if (largest == 0) {
        EXPECT_EQ(m.code[i], zero_code(true));
        EXPECT_EQ(v.code[i], zero_code(false));
        continue;
      }
      ASSERT_EQ(m.code[i], slow_code(true, g[i] / largest)) << g[i] / largest;
      ASSERT_EQ(v.code[i], slow_code(false, g[i] * g[i] / (largest * largest)));
    }
  }
}

// One element: both moments are their scale's own value, so two steps follow the formula exactly.
TEST_P(OptimizerTest, CodedAdamwDecaysAfterTheUpdate) {
  float p = 2, g = 4, scales[2] = {};
  uint8_t codes[2] = {zero_code(true), zero_code(false)};
  AdamwSettings how{.learning_rate = 0.5, .beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0.2};
  double wide = 2, m = 0, v = 0;
  for (int step = 1; step <= 2; ++step) {
    how.correction1 = 1 - std::pow(0.5, step);
    how.correction2 = 1 - std::pow(0.75, step);
    optimizer_kernels(GetParam())
        .adamw_coded({.master = &p, .gradient = &g}, how, {&codes[0], &scales[0]},
                     {&codes[1], &scales[1]}, 0, 1);
    m = 0.5 * m + 0.5 * 4;
    v = 0.75 * v + 0.25 * 16;
    wide -= 0.5 * m / how.correction1 / (std::sqrt(v / how.correction2) + 1e-8);
    wide *= 1 - 0.5 * 0.2;
    EXPECT_NEAR(p, wide, 1e-6);
    EXPECT_EQ(codes[0], 255);
    EXPECT_EQ(scales[0], m);
    EXPECT_EQ(scales[1], v);
  }
}

TEST_P(OptimizerTest, AccumulateWidensEveryType) {
  // 1.5, -2 and the smallest subnormal of each
  const uint16_t bf16[] = {0x3fc0, 0xc000, 0x0001}, f16[] = {0x3e00, 0xc000, 0x0001};
  const float f32[] = {1.5f, -2.0f, 0x1p-149f};
  const OptimizerKernels& kernels = optimizer_kernels(GetParam());
  std::vector<float> sum{1, 1, 0};
  kernels.accumulate(Element::bf16, bf16, sum.data(), 0, 3);
  EXPECT_EQ(sum, (std::vector<float>{2.5f, -1.0f, 0x1p-133f}));
  kernels.accumulate(Element::f16, f16, sum.data(), 0, 2);
  EXPECT_EQ(sum, (std::vector<float>{4.0f, -3.0f, 0x1p-133f}));
  sum[2] = 0;
  kernels.accumulate(Element::f16, f16, sum.data(), 2, 3);
  EXPECT_EQ(sum[2], 0x1p-24f);
  sum[2] = 0;
  kernels.accumulate(Element::f32, f32, sum.data(), 0, 3);
  EXPECT_EQ(sum, (std::vector<float>{5.5f, -5.0f, 0x1p-149f}));
}

TEST_P(OptimizerTest, EveryHalfSurvivesTheWayToFloatAndBack) {
  std::vector<uint16_t> halves(1 << 16), back(halves.size());
  std::iota(halves.begin(), halves.end(), uint16_t{0});
  std::vector<float> zero(halves.size()), momentum(halves.size());
  // With a learning rate of zero a trained copy is read, multiplied by one and written.
  const Trained what{.working = back.data(), .element = Element::f16, .gradient = zero.data()};
  back = halves;
  optimizer_kernels(GetParam()).lion(what, {}, momentum.data(), 0, 1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) {
    const bool is_nan = (halves[i] & 0x7fff) > 0x7c00;
    ASSERT_EQ(back[i], is_nan ? halves[i] | 0x200 : halves[i]) << i;
  }
}

TEST_P(OptimizerTest, ScaleAndBlendByHand) {
  std::vector<float> x{2, 4, 8}, average{0, 4, 1};
  optimizer_kernels(GetParam()).scale(x.data(), 0.25f, 1, 3);
  EXPECT_EQ(x, (std::vector<float>{2, 1, 2}));
  optimizer_kernels(GetParam()).blend(average.data(), x.data(), 0.25f, 0, 3);
  EXPECT_EQ(average, (std::vector<float>{0.5f, 3.25f, 1.25f}));
}

TEST_P(OptimizerTest, SumsOfSquaresAreOfFixedChunksAndTheSameForEveryProcessor) {
  const int64_t count = 2 * kSumChunk + 45;
  const auto x = random(static_cast<size_t>(count));
  std::vector<double> sums(3), baseline(3), wanted(3);
  optimizer_kernels(GetParam()).sum_of_squares(x.data(), count, sums.data(), 1, 3);
  optimizer_kernels(GetParam()).sum_of_squares(x.data(), count, sums.data(), 0, 1);
  optimizer_kernels(Isa::baseline).sum_of_squares(x.data(), count, baseline.data(), 0, 3);
  EXPECT_EQ(sums, baseline);
  for (size_t i = 0; i < x.size(); ++i) wanted[i / kSumChunk] += double{x[i]} * x[i];
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(sums[i], wanted[i], 1e-9 * wanted[i]);
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
