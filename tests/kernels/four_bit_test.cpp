#include "kernels/four_bit.h"

#include <cmath>
#include <cstring>
#include <string>

#include "tests/kernels/half_numbers.h"
#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

std::string hex(const std::vector<uint8_t>& bytes) {
  static const char* digits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

/// ((37 i + 11) mod 101 - 50) / 256: exact in every floating type.
std::vector<float> pattern(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(static_cast<int>((37 * (i % 256) + 11) % 101) - 50) / 256;
  return values;
}

struct Quantised {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
};

template <typename T>
Quantised quantise(Isa isa, FourBitCode code, Element element, const std::vector<T>& from,
                   int64_t block = 64) {
  const auto count = static_cast<int64_t>(from.size());
  const int64_t blocks = (count + block - 1) / block;
  Quantised result{std::vector<uint8_t>((from.size() + 1) / 2),
                   std::vector<float>(static_cast<size_t>(blocks))};
  four_bit_kernels(isa).quantise(code, element, from.data(), count, block, result.codes.data(),
                                 result.scales.data(), 0, blocks);
  return result;
}

class FourBitTest : public InstructionSetTest {};

// The bytes are those bitsandbytes makes of the same numbers.
TEST_P(FourBitTest, Nf4CodesAreThoseOfBitsandbytes) {
  const auto codes = [&](const std::vector<float>& x) {
    return hex(quantise(GetParam(), FourBitCode::nf4, Element::f32, x).codes);
  };
  EXPECT_EQ(codes(pattern(69)),
            "17e29f3b05d17e2af4c06d18e2a04c16e29f3b05d17e29f3c05d18e2af4c16e19f3b07");
  EXPECT_EQ(codes(std::vector<float>(66)), std::string(66, '7'));
  EXPECT_EQ(codes(std::vector<float>(65, 0.25f)), std::string(65, 'f') + "7");
  EXPECT_EQ(codes({3e38f, -1e38f, 2.9e38f, 1e37f}), "f4f7");
}

TEST_P(FourBitTest, Fp4CodesAreThoseOfBitsandbytes) {
  const auto codes = [&](const std::vector<float>& x) {
    return hex(quantise(GetParam(), FourBitCode::fp4, Element::f32, x).codes);
  };
  EXPECT_EQ(codes(pattern(69)),
            "a92d63c4be5a12d73c5be2a12d7bf5a92a63c4be5a02d63c4be2a12d73f5a92a63d4b0");
  EXPECT_EQ(codes(std::vector<float>(66)), std::string(66, '0'));
  EXPECT_EQ(codes(std::vector<float>(65, 0.25f)), std::string(65, '3') + "0");
  EXPECT_EQ(codes({3e38f, -1e38f, 2.9e38f, 1e37f}), "3c31");
}

TEST_P(FourBitTest, AWholeBlockKeepsItsScaleAndAShortOneIsRaisedToTheSmallest) {
  std::vector<float> x(65, 1e-40f);
  const Quantised tiny = quantise(GetParam(), FourBitCode::nf4, Element::f32, x);
  EXPECT_EQ(tiny.scales[0], 1e-40f);
  EXPECT_EQ(tiny.scales[1], 1e-38f);
  const Quantised zero =
      quantise(GetParam(), FourBitCode::nf4, Element::f32, std::vector<float>(65));
  EXPECT_EQ(zero.scales[0], 0.0f);
  EXPECT_EQ(zero.scales[1], 1e-38f);
}

TEST_P(FourBitTest, ANotANumberShowsInTheScaleOfItsBlock) {
  std::vector<float> x = random(192);
  x[70] = NAN;
  x[140] = -INFINITY;
  const Quantised result = quantise(GetParam(), FourBitCode::nf4, Element::f32, x);
  EXPECT_TRUE(std::isfinite(result.scales[0]));
  EXPECT_TRUE(std::isnan(result.scales[1]));
  EXPECT_TRUE(std::isinf(result.scales[2]));
}

TEST_P(FourBitTest, EveryInstructionSetMakesTheCodesOfTheBaseline) {
  for (const size_t count : {1u, 2u, 31u, 64u, 65u, 127u, 1000u, 4097u})
    for (const FourBitCode code : {FourBitCode::nf4, FourBitCode::fp4})
      for (const int64_t block : {32, 64, 256}) {
        const auto x = random(count);
        const Quantised got = quantise(GetParam(), code, Element::f32, x, block);
        const Quantised wanted = quantise(Isa::baseline, code, Element::f32, x, block);
        EXPECT_EQ(got.codes, wanted.codes) << count << ", " << block;
        EXPECT_EQ(got.scales, wanted.scales);
        std::vector<uint16_t> halves(count);
        for (auto& bits : halves) bits = static_cast<uint16_t>(engine_() & 0xbbff);
        for (const Element element : {Element::bf16, Element::f16})
          EXPECT_EQ(quantise(GetParam(), code, element, halves, block).codes,
                    quantise(Isa::baseline, code, element, halves, block).codes);
      }
}

/// A tensor of `count` numbers with random codes, and the products as the format defines them.
struct Example {
  Example(int64_t count, int64_t block, bool nested, std::mt19937& engine)
      : codes((count + 1) / 2) {
    std::normal_distribution<float> normal;
    for (auto& byte : codes) byte = static_cast<uint8_t>(engine());
    const int64_t blocks = (count + block - 1) / block;
    scale_codes.resize(blocks);
    for (auto& byte : scale_codes) byte = static_cast<uint8_t>(engine());
    map.resize(256);
    group_scales.resize(blocks);
    scales.resize(blocks);
    for (auto* list : {&map, &group_scales, &scales})
      for (float& value : *list) value = normal(engine);
    tensor.codes = codes.data();
    tensor.values = four_bit_values(FourBitCode::nf4);
    tensor.block = block;
    if (nested) {
      tensor.scale_codes = scale_codes.data();
      tensor.scale_map = map.data();
      tensor.group_scales = group_scales.data();
      tensor.group = 4;
      tensor.offset = 0.375f;
    } else {
      tensor.scales = scales.data();
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t b = i / block;
      const int code = i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15;
      volatile float product = map[scale_codes[b]] * group_scales[b / 4];
      const float scale = nested ? product + 0.375f : scales[b];
      values.push_back(tensor.values[code] * scale);
    }
  }
  std::vector<uint8_t> codes, scale_codes;
  std::vector<float> map, group_scales, scales, values;
  FourBitTensor tensor;
};

TEST_P(FourBitTest, AnyRangeOfElementsIsValueTimesScaleRoundedOnce) {
  for (const bool nested : {false, true})
    for (const int64_t block : {32, 64, 4096}) {
      const Example example(1237, block, nested, engine_);
      for (const auto& [first, last] : {std::pair{0, 1237},
                                        {0, 1},
                                        {1, 2},
                                        {63, 65},
                                        {31, 1200},
                                        {640, 641},
                                        {5, 5},
                                        {1000, 1237}}) {
        const auto count = static_cast<size_t>(last - first);
        std::vector<float> wide(count);
        const FourBitKernels& kernels = four_bit_kernels(GetParam());
        kernels.dequantise(example.tensor, Element::f32, wide.data(), first, last);
        std::vector<uint16_t> bf16(count), f16(count);
        kernels.dequantise(example.tensor, Element::bf16, bf16.data(), first, last);
        kernels.dequantise(example.tensor, Element::f16, f16.data(), first, last);
        for (size_t i = 0; i < count; ++i) {
          const float wanted = example.values[static_cast<size_t>(first) + i];
          ASSERT_EQ(wide[i], wanted) << first << " + " << i;
          ASSERT_EQ(bf16[i], nearest_half(wanted, from_bf16)) << wanted;
          ASSERT_EQ(f16[i], nearest_half(wanted, from_half)) << wanted;
        }
      }
    }
}

INSTANTIATE_TEST_SUITE_P(All, FourBitTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
