#include "kernels/packed_groups.h"

#include <cmath>
#include <cstring>

#include "kernels/int8_rows.h"
#include "tests/kernels/half_numbers.h"
#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

/// A matrix of random codes, scales in float16 and zero points, and what it decodes to.
struct GroupedExample {
  GroupedExample(int bits, int64_t row_count, int64_t width, int64_t group_size, bool scattered,
                 bool symmetric, std::mt19937& engine)
      : rows(row_count), columns(width) {
    weight.bits = bits;
    weight.columns = columns;
    weight.row_bytes = (columns * bits + 31) / 32 * 4;
    weight.groups = (columns + group_size - 1) / group_size;
    weight.group_size = group_size;
    codes.resize(static_cast<size_t>(rows * weight.row_bytes));
    for (auto& byte : codes) byte = static_cast<uint8_t>(engine());
    for (int64_t i = 0; i < rows * weight.groups; ++i) {
      scales.push_back(static_cast<uint16_t>(engine() & 0xb7ff));  // below one half, either sign
      zeros.push_back(static_cast<uint8_t>(engine() & ((1u << bits) - 1)));
    }
    for (int64_t column = 0; column < columns; ++column)
      group_of.push_back(static_cast<int32_t>(
          scattered ? engine() % static_cast<uint32_t>(weight.groups) : column / group_size));
    weight.codes = codes.data();
    weight.scales = scales.data();
    weight.zero = 1 << (bits - 1);
    if (!symmetric) weight.zeros = zeros.data();
    if (scattered) weight.group_of = group_of.data();
  }

  /// Bit by bit, as the format is defined.
  float value(int64_t row, int64_t column) const {
    int code = 0;
    for (int b = 0; b < weight.bits; ++b) {
      const int64_t at = column * weight.bits + b;
      code |= (codes[static_cast<size_t>(row * weight.row_bytes + at / 8)] >> (at % 8) & 1) << b;
    }
    const auto i = static_cast<size_t>(row * weight.groups + group_of[static_cast<size_t>(column)]);
    const int zero = weight.zeros != nullptr ? zeros[i] : weight.zero;
    const float product = static_cast<float>(code - zero) * from_half(scales[i]);
    return from_half(nearest_half(product, from_half));
  }

  int64_t rows, columns;
  std::vector<uint8_t> codes, zeros;
  std::vector<uint16_t> scales;
  std::vector<int32_t> group_of;
  PackedGroups weight;
};

class PackedGroupsTest : public InstructionSetTest {
 protected:
  void expect_decoded(const GroupedExample& example) {
    const PackedGroupKernels& kernels = packed_group_kernels(GetParam());
    const int64_t first = example.rows > 2 ? 1 : 0;
    const auto count = static_cast<size_t>((example.rows - first) * example.columns);
    std::vector<float> wide(count);
    std::vector<uint16_t> half(count), brain(count);
    kernels.dequantise(example.weight, Element::f32, wide.data(), first, example.rows);
    kernels.dequantise(example.weight, Element::f16, half.data(), first, example.rows);
    kernels.dequantise(example.weight, Element::bf16, brain.data(), first, example.rows);
    for (int64_t row = first; row < example.rows; ++row)
      for (int64_t c = 0; c < example.columns; ++c) {
        const auto i = static_cast<size_t>((row - first) * example.columns + c);
        const float wanted = example.value(row, c);
        ASSERT_EQ(wide[i], wanted) << row << ", " << c;
        ASSERT_EQ(from_half(half[i]), wanted);
        ASSERT_EQ(from_bf16(brain[i]), from_bf16(nearest_half(wanted, from_bf16)));
      }
  }
};

TEST_P(PackedGroupsTest, EveryCodeIsScaleTimesItsDistanceFromZeroInTheScalesType) {
  for (const int bits : {2, 3, 4, 8})
    for (const bool scattered : {false, true})
      for (const bool symmetric : {false, true}) {
        SCOPED_TRACE(testing::Message() << bits << " bits, " << scattered << ", " << symmetric);
        expect_decoded({bits, 5, 256, 32, scattered, symmetric, engine_});
        expect_decoded({bits, 3, 224, 128, scattered, symmetric, engine_});
        expect_decoded({bits, 2, 96, 96, scattered, symmetric, engine_});
        expect_decoded({bits, 4, 83, 20, scattered, symmetric, engine_});
        expect_decoded({bits, 1, 1, 1, scattered, symmetric, engine_});
      }
}

TEST_P(PackedGroupsTest, ScalesMayBeFloatsOrBrainFloats) {
  GroupedExample example(4, 2, 64, 32, false, false, engine_);
  std::vector<float> wide(128), scales = {0.1f, -0.7f, 3.0f, 1e-3f};
  example.weight.scales = scales.data();
  example.weight.scale_type = Element::f32;
  packed_group_kernels(GetParam()).dequantise(example.weight, Element::f32, wide.data(), 0, 2);
  for (size_t i = 0; i < 128; ++i) {
    const int code = example.codes[i / 2] >> (i % 2 * 4) & 15;
    EXPECT_EQ(wide[i], static_cast<float>(code - example.zeros[i / 32]) * scales[i / 32]);
  }
  const std::vector<uint16_t> brain = {0x3dcd, 0xbf33, 0x4040, 0x3a83};
  example.weight.scales = brain.data();
  example.weight.scale_type = Element::bf16;
  packed_group_kernels(GetParam()).dequantise(example.weight, Element::f32, wide.data(), 0, 2);
  for (size_t i = 0; i < 128; ++i) {
    const int code = example.codes[i / 2] >> (i % 2 * 4) & 15;
    const float product =
        static_cast<float>(code - example.zeros[i / 32]) * from_bf16(brain[i / 32]);
    EXPECT_EQ(wide[i], from_bf16(nearest_half(product, from_bf16)));
  }
}

class Int8RowsTest : public InstructionSetTest {};

TEST_P(Int8RowsTest, TheLargestMagnitudeOfARowIs127) {
  const std::vector<float> x = {1.0f, -2.0f, 0.5f, 0.0f, 0.0f, 0.0f, -0.3f, 0.2f, 0.1f};
  std::vector<int8_t> codes(9);
  std::vector<float> scales(3);
  int8_row_kernels(GetParam())
      .quantise(Element::f32, x.data(), codes.data(), scales.data(), 0, 3, 3);
  EXPECT_EQ(codes, (std::vector<int8_t>{64, -127, 32, 0, 0, 0, -127, 85, 42}));
  EXPECT_EQ(scales, (std::vector<float>{2.0f, 0.0f, from_half(nearest_half(0.3f, from_half))}));
}

TEST_P(Int8RowsTest, EveryInstructionSetMakesTheCodesOfTheBaselineAndDecodesThem) {
  for (const int64_t columns : {1, 15, 16, 17, 100}) {
    const auto x = random(static_cast<size_t>(7 * columns));
    const auto run = [&](Isa isa, std::vector<int8_t>& codes, std::vector<float>& scales) {
      codes.resize(x.size());
      scales.resize(7);
      int8_row_kernels(isa).quantise(Element::f32, x.data(), codes.data(), scales.data(), 0, 7,
                                     columns);
    };
    std::vector<int8_t> got, wanted;
    std::vector<float> got_scales, wanted_scales, wide(static_cast<size_t>(5 * columns));
    run(GetParam(), got, got_scales);
    run(Isa::baseline, wanted, wanted_scales);
    EXPECT_EQ(got, wanted);
    EXPECT_EQ(got_scales, wanted_scales);
    std::vector<uint16_t> brain(wide.size());
    int8_row_kernels(GetParam())
        .dequantise(got.data(), got_scales.data(), Element::f32, wide.data(), 2, 7, columns);
    int8_row_kernels(GetParam())
        .dequantise(got.data(), got_scales.data(), Element::bf16, brain.data(), 2, 7, columns);
    for (size_t i = 0; i < wide.size(); ++i) {
      const size_t from = i + static_cast<size_t>(2 * columns);
      volatile float product =
          static_cast<float>(got[from]) * got_scales[from / static_cast<size_t>(columns)];
      ASSERT_EQ(wide[i], product * (1.0f / 127.0f));
      ASSERT_EQ(brain[i], nearest_half(wide[i], from_bf16));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackedGroupsTest, kEveryIsa);
INSTANTIATE_TEST_SUITE_P(All, Int8RowsTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
