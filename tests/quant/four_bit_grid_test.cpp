// NF4 and FP4 as a grid of training: what bitsandbytes' file holds, row by row.
#include "quant/four_bit_grid.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "quant/bnb4.h"

namespace isogrid {
namespace {

using Record = std::vector<std::byte>;

Record encoded(const Grid& grid, const float* row, int64_t columns) {
  Record record(static_cast<size_t>(grid.row_bytes(columns)));
  grid.encode(row, nullptr, columns, record.data());
  return record;
}

TEST(FourBitGridTest, ARecordIsAbsmaxThenNibbles) {
  const auto grid = make_grid("nf4", "qat_target");
  std::vector<float> row(64, 0.0f);
  row[0] = 2.0f;   // the largest: code 15, value 1
  row[1] = -2.0f;  // code 0, value -1
  row[2] = 0.1f;   // 0.05 of it: nearest is 0.0796, code 8, beyond the midpoint 0.0398
  const Record record = encoded(*grid, row.data(), 64);
  ASSERT_EQ(record.size(), 4u + 32u);
  float scale = 0;
  std::memcpy(&scale, record.data(), 4);
  EXPECT_EQ(scale, 2.0f);
  EXPECT_EQ(std::to_integer<int>(record[4]), 0xF0);
  EXPECT_EQ(std::to_integer<int>(record[5]), 0x87);  // 7 is zero
  std::vector<float> back(64);
  grid->decode(record.data(), 64, back.data());
  EXPECT_EQ(back[0], 2.0f);
  EXPECT_EQ(back[1], -2.0f);
  EXPECT_EQ(back[3], 0.0f);
}

TEST(FourBitGridTest, RowsAreThoseOfTheFile) {
  for (const char* name : {"nf4", "fp4"}) {
    const auto grid = make_grid(name, "qat_target");
    const auto code = name[0] == 'n' ? kernels::FourBitCode::nf4 : kernels::FourBitCode::fp4;
    const at::Tensor dense = at::randn({6, 192}) * 0.05;
    const Bnb4Parts parts = quantise_bnb4("w", dense, code, /*nested=*/false);
    for (int64_t row = 0; row < 6; ++row) {
      const float* values = dense.const_data_ptr<float>() + row * 192;
      Record record = encoded(*grid, values, 192);
      EXPECT_EQ(0, std::memcmp(record.data(), parts.scales.const_data_ptr<float>() + row * 3, 12));
      EXPECT_EQ(
          0, std::memcmp(record.data() + 12, parts.codes.const_data_ptr<uint8_t>() + row * 96, 96));
      // Under the same scales the codes are the same.
      const Record before = record;
      grid->recode(values, 192, record.data());
      EXPECT_EQ(record, before) << name;
    }
  }
}

TEST(FourBitGridTest, ABlockOfZerosStaysZero) {
  const auto grid = make_grid("nf4", "qat_target");
  const std::vector<float> row(128, 0.0f);
  Record record = encoded(*grid, row.data(), 128);
  std::vector<float> back(128, 1.0f);
  grid->decode(record.data(), 128, back.data());
  EXPECT_EQ(back, row);
  grid->recode(row.data(), 128, record.data());
  grid->decode(record.data(), 128, back.data());
  EXPECT_EQ(back, row);
}

}  // namespace
}  // namespace isogrid
