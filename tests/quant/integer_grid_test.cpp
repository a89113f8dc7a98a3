#include "quant/integer_grid.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "core/error.h"

namespace isogrid {
namespace {

struct Row {
  std::vector<float> scales, zeros, values;
  std::vector<int> codes;
};

Row coded(const std::string& name, const std::vector<float>& row) {
  const auto made = make_grid(name, "qat_target");
  const auto& grid = dynamic_cast<const IntegerGrid&>(*made);
  const auto columns = static_cast<int64_t>(row.size());
  std::vector<std::byte> record(static_cast<size_t>(grid.row_bytes(columns)));
  grid.encode(row.data(), nullptr, columns, record.data());
  Row result;
  result.values.resize(row.size());
  grid.decode(record.data(), columns, result.values.data());
  const IntegerGrid::Parts parts = grid.parts(record.data(), columns);
  result.codes.assign(parts.codes, parts.codes + columns);
  result.scales.assign(parts.scales, parts.scales + grid.groups(columns));
  if (parts.zeros != nullptr) result.zeros.assign(parts.zeros, parts.zeros + grid.groups(columns));
  return result;
}

bool is_integer_grid(const GridRow& row) {
  return dynamic_cast<const IntegerGrid*>(make_grid(std::string(row.name), "qat_target").get()) !=
         nullptr;
}

std::vector<float> padded(std::vector<float> values, size_t length) {
  values.resize(length, 0.0f);
  return values;
}

std::vector<float> gaussian(size_t count, float spread, unsigned seed = 3) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

std::vector<int> first(const std::vector<int>& values, size_t count) {
  return {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count)};
}

// max(4 / 8, 3.5 / 7) = 0.5; ties go to the even code: 0.25 -> 0, 0.75 -> 2.
TEST(IntegerGrid, ServesBothSidesWithoutClippingEither) {
  const Row row = coded("int4_g32", padded({-4.0f, 3.5f, 1.3f, 0.25f, 0.75f, -0.2f}, 32));
  EXPECT_EQ(row.scales, std::vector<float>{0.5f});
  EXPECT_EQ(first(row.codes, 6), (std::vector<int>{-8, 7, 3, 0, 2, 0}));
  EXPECT_EQ(row.values[2], 1.5f);
  EXPECT_EQ(row.values[5], 0.0f);
}

TEST(IntegerGrid, AGroupOfZerosStaysZero) {
  for (const GridRow& grid : grid_rows()) {
    if (!is_integer_grid(grid)) continue;
    const Row row = coded(std::string(grid.name), std::vector<float>(128, 0.0f));
    for (const float value : row.values) EXPECT_EQ(value, 0.0f) << grid.name;
  }
}

TEST(IntegerGrid, GroupsHaveTheirNameForLength) {
  EXPECT_EQ(coded("int4_g32", gaussian(256, 1)).scales.size(), 8u);
  EXPECT_EQ(coded("int4_g64", gaussian(256, 1)).scales.size(), 4u);
  EXPECT_EQ(coded("int4_g128", gaussian(256, 1)).scales.size(), 2u);
  EXPECT_EQ(coded("int8", gaussian(37, 1)).scales.size(), 1u);
}

bool is_half(float value) { return static_cast<float>(static_cast<_Float16>(value)) == value; }
bool is_bfloat(float value) { return (std::bit_cast<uint32_t>(value) & 0xffffu) == 0; }

TEST(IntegerGrid, UniversalScalesAndWeightsFitBothSixteenBitTypes) {
  for (const float spread : {1e-5f, 2e-4f, 0.02f, 3.0f, 5e4f}) {
    const Row row = coded("universal_int4", gaussian(512, spread));
    for (const float scale : row.scales) EXPECT_TRUE(is_half(scale) && is_bfloat(scale)) << scale;
    if (spread < 1e-4f || spread > 1e4f) continue;
    for (const float value : row.values) EXPECT_TRUE(is_half(value)) << value;
  }
}

TEST(IntegerGrid, HalfScalesNeverOverflow) {
  const Row row = coded("int4_g32", std::vector<float>(32, 1e9f));
  EXPECT_EQ(row.scales[0], 65504.0f);
  EXPECT_EQ(row.codes[0], 7);
}

TEST(IntegerGrid, WhatIsOnTheGridStaysThere) {
  for (const char* name : {"int4_g32", "int4_g64", "int4_g128", "universal_int4"}) {
    const Row once = coded(name, gaussian(1024, 0.02f));
    const Row twice = coded(name, once.values);
    EXPECT_EQ(once.codes, twice.codes) << name;
    EXPECT_EQ(once.scales, twice.scales) << name;
  }
}

// bitsandbytes 0.50.2's int8_vectorwise_quant and _dequant of ((37 i + 11) mod 101 - 50) / 256.
TEST(IntegerGrid, Int8IsThatOfBitsandbytes) {
  std::vector<float> row;
  for (int i = 0; i < 16; ++i) row.push_back(static_cast<float>((37 * i + 11) % 101 - 50) / 256);
  const Row got = coded("int8", row);
  EXPECT_EQ(got.scales, std::vector<float>{0.1796875f});
  EXPECT_EQ(got.codes, (std::vector<int>{-108, -6, 97, -80, 22, 124, -52, 50, -127, -25, 77, -99, 3,
                                         105, -72, 30}));
  const uint32_t bits[] = {0xbe1c78f2, 0xbc0b162c, 0x3e0c8912, 0xbde7cf9f, 0x3cfefdfc, 0x3e33a74f,
                           0xbd96ad5b, 0x3d90e1c3, 0xbe380000, 0xbd10e1c3, 0x3ddf1e3c, 0xbe0f6ede,
                           0x3b8b162c, 0x3e182040, 0xbdd0a142, 0x3d2ddbb7};
  for (size_t i = 0; i < row.size(); ++i)
    EXPECT_EQ(std::bit_cast<uint32_t>(got.values[i]), bits[i]);
}

// 7.5 / 7.5 = 1: the largest positive weight would be code 7.5, rounds to 8 and is clipped to 7.
TEST(IntegerGrid, TorchaoSymmetricClipsHalfAStep) {
  const Row row = coded("torchao:8da4w", padded({7.5f, -7.5f, 2.5f, 3.5f}, 32));
  EXPECT_EQ(row.scales, std::vector<float>{1.0f});
  EXPECT_EQ(first(row.codes, 4), (std::vector<int>{7, -8, 2, 4}));
  const Row bytes = coded("torchao:int8wo", {127.5f, -127.5f, 1.0f});
  EXPECT_EQ(bytes.codes, (std::vector<int>{127, -128, 1}));
}

// Span 15 in 15 steps of 1 from -3: zero is at -3 + 8.
TEST(IntegerGrid, TorchaoFourBitHasAZeroOfItsOwn) {
  const Row row = coded("torchao:int4wo", padded({-3.0f, 12.0f, 4.4f}, 128));
  EXPECT_EQ(row.scales, std::vector<float>{1.0f});
  EXPECT_EQ(row.zeros, std::vector<float>{5.0f});
  EXPECT_EQ(first(row.codes, 4), (std::vector<int>{-8, 7, -1, -5}));
  EXPECT_EQ(row.values[2], 4.0f);
}

TEST(IntegerGrid, RoundTripIsDecodeOfEncode) {
  for (const GridRow& named : grid_rows()) {
    if (!is_integer_grid(named)) continue;
    const std::string name(named.name);
    const auto grid = make_grid(name, "qat_target");
    const std::vector<float> row = gaussian(grid->block() == 0 ? 173 : 384, 0.02f);
    std::vector<float> out(row.size());
    grid->round_trip(row.data(), nullptr, static_cast<int64_t>(row.size()), out.data());
    EXPECT_EQ(out, coded(name, row).values) << name;
  }
}

// Codes -8..7 under scale 0.5 reach from -4 to 3.5; half a step further rounds to them still.
TEST(IntegerGrid, LimitsAreHalfAStepBeyondTheOutermostCodes) {
  const auto grid = make_grid("int4_g32", "qat_target");
  const std::vector<float> row = padded({-4.0f}, 32);
  std::vector<std::byte> record(static_cast<size_t>(grid->row_bytes(32)));
  grid->encode(row.data(), nullptr, 32, record.data());
  std::vector<float> below(32), above(32);
  grid->limits(record.data(), 32, below.data(), above.data());
  EXPECT_EQ(below[5], -4.25f);
  EXPECT_EQ(above[5], 3.75f);
}

TEST(IntegerGrid, LearnedScalesAreRoundedAsStored) {
  const auto grid = make_grid("universal_int4", "qat_target");
  const std::vector<float> row = gaussian(32, 0.02f);
  std::vector<std::byte> record(static_cast<size_t>(grid->row_bytes(32)));
  grid->encode(row.data(), nullptr, 32, record.data());
  const float wanted = 1.0f + 1.0f / 128 + 1.0f / 1024;  // between 1.0078125 and 1.015625
  grid->write_scales(&wanted, 32, record.data());
  float stored = 0;
  grid->read_scales(record.data(), 32, &stored);
  EXPECT_EQ(stored, 1.0078125f);
}

TEST(IntegerGrid, AnUnknownNameIsRefusedWithTheList) {
  try {
    make_grid("int5", "qat_target");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::configuration);
    EXPECT_NE(std::string(error.what()).find("qat_target: int5"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("universal_int4"), std::string::npos);
  }
}

}  // namespace
}  // namespace isogrid
