#include "kernels/dropout.h"

#include <cmath>
#include <cstring>

#include "core/rng.h"
#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

class DropoutTest : public InstructionSetTest {
 protected:
  /// One generator per token and its key, as the trainer hands it over.
  void make_tokens(uint64_t count) {
    for (uint64_t token = 0; token < count; ++token) {
      rngs.emplace_back(7, Purpose::dropout, std::initializer_list<uint64_t>{3, token});
      keys.push_back({{rngs.back().key()[0], rngs.back().key()[1]}});
    }
  }
  std::vector<Rng> rngs;
  std::vector<TokenKey> keys;
};

TEST_P(DropoutTest, FeatureFIsKeptWhereDrawFOfItsTokenIsNotBelowTheProbability) {
  make_tokens(3);
  for (const int64_t columns : {1, 4, 31, 33, 100}) {
    const auto n = static_cast<size_t>(columns);
    const auto x = random(3 * n);
    std::vector<float> y(x.size());
    dropout_kernels(GetParam())
        .dropout(Element::f32, x.data(), y.data(), keys.data(), 0.3, 0, 3, columns);
    for (size_t row = 0; row < 3; ++row) {
      Rng rng = rngs[row];
      for (size_t c = 0; c < n; ++c) {
        const float kept = rng.uniform() >= 0.3 ? x[row * n + c] * static_cast<float>(1 / 0.7) : 0;
        ASSERT_EQ(y[row * n + c], kept) << columns << ": " << row << ", " << c;
      }
    }
  }
}

TEST_P(DropoutTest, NoiseIsUniformBetweenTheRowsAmplitudes) {
  make_tokens(2);
  const auto x = random(2 * 45);
  const float amplitudes[] = {0.5f, 0.013f};
  std::vector<float> y(x.size());
  dropout_kernels(GetParam())
      .add_noise(Element::f32, x.data(), y.data(), keys.data(), amplitudes, 0, 2, 45);
  for (size_t row = 0; row < 2; ++row) {
    Rng rng = rngs[row];
    for (size_t c = 0; c < 45; ++c) {
      const float noise = (2 * rng.uniform() - 1) * amplitudes[row];
      ASSERT_EQ(y[row * 45 + c], x[row * 45 + c] + noise);
    }
  }
}

TEST_P(DropoutTest, HalfTypesGiveTheBitsOfTheBaseline) {
  make_tokens(2);
  std::vector<uint16_t> x(2 * 50), got(x.size()), wanted(x.size());
  for (auto& bits : x) bits = static_cast<uint16_t>(engine_());
  const float amplitudes[] = {0.5f, 2.0f};
  for (const Element element : {Element::bf16, Element::f16}) {
    const auto run = [&](Isa isa, std::vector<uint16_t>& y) {
      const DropoutKernels& kernels = dropout_kernels(isa);
      kernels.dropout(element, x.data(), y.data(), keys.data(), 0.25, 0, 2, 50);
      kernels.add_noise(element, y.data(), y.data(), keys.data(), amplitudes, 0, 2, 50);
    };
    run(GetParam(), got);
    run(Isa::baseline, wanted);
    EXPECT_EQ(got, wanted);
  }
}

TEST_P(DropoutTest, TheEndsOfTheProbabilityKeepAllAndNothing) {
  make_tokens(1);
  const auto x = random(40);
  std::vector<float> y(x.size());
  const DropoutKernels& kernels = dropout_kernels(GetParam());
  kernels.dropout(Element::f32, x.data(), y.data(), keys.data(), 0.0, 0, 1, 40);
  EXPECT_EQ(y, x);
  kernels.dropout(Element::f32, x.data(), y.data(), keys.data(), 1.0, 0, 1, 40);
  EXPECT_EQ(y, std::vector<float>(40, 0.0f));
}

TEST_P(DropoutTest, TheShareOfWhatIsDroppedIsTheProbability) {
  make_tokens(1);
  const int64_t columns = 1 << 18;
  std::vector<float> x(columns, 1.0f);
  dropout_kernels(GetParam())
      .dropout(Element::f32, x.data(), x.data(), keys.data(), 0.1, 0, 1, columns);
  const auto dropped = static_cast<double>(std::count(x.begin(), x.end(), 0.0f));
  EXPECT_NEAR(dropped / static_cast<double>(columns), 0.1, 4 * std::sqrt(0.09 / (1 << 18)));
}

INSTANTIATE_TEST_SUITE_P(All, DropoutTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
