#include "quant/gguf_grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/rng.h"

namespace isogrid {
namespace {

constexpr int64_t kColumns = 1024;

std::vector<float> weights(uint64_t seed, float size = 0.03f) {
  Rng rng(seed, Purpose::initial_weights, {});
  std::vector<float> row(kColumns);
  for (float& x : row)
    x = size * static_cast<float>(rng.uniform_double() + rng.uniform_double() - 1.0);
  return row;
}

using Bytes = std::vector<std::byte>;

Bytes encoded(const Grid& grid, const std::vector<float>& row) {
  Bytes record(static_cast<size_t>(grid.row_bytes(kColumns)));
  grid.encode(row.data(), nullptr, kColumns, record.data());
  return record;
}
Bytes recoded(const Grid& grid, Bytes record, const std::vector<float>& row) {
  grid.recode(row.data(), kColumns, record.data());
  return record;
}
std::vector<float> decoded(const Grid& grid, const Bytes& record) {
  std::vector<float> row(kColumns);
  grid.decode(record.data(), kColumns, row.data());
  return row;
}

class EveryBlockType : public testing::TestWithParam<const GridRow*> {
 protected:
  std::shared_ptr<const Grid> grid = GetParam()->make(GetParam()->name);
};

TEST_P(EveryBlockType, TheRoundTripIsEncodingAndDecoding) {
  const std::vector<float> row = weights(1);
  std::vector<float> out(kColumns);
  grid->round_trip(row.data(), nullptr, kColumns, out.data());
  EXPECT_EQ(out, decoded(*grid, encoded(*grid, row)));
}

TEST_P(EveryBlockType, ValuesOfTheGridKeepTheirCodes) {
  if (!grid->recodes()) GTEST_SKIP();
  const Bytes record = encoded(*grid, weights(2));
  const std::vector<float> values = decoded(*grid, record);
  EXPECT_EQ(decoded(*grid, recoded(*grid, record, values)), values);
}

TEST_P(EveryBlockType, NoCodeOfTheEncoderIsNearer) {
  if (!grid->recodes()) GTEST_SKIP();
  const std::vector<float> row = weights(3);
  const Bytes record = encoded(*grid, row);
  const std::vector<float> first = decoded(*grid, record);
  const std::vector<float> again = decoded(*grid, recoded(*grid, record, row));
  for (size_t i = 0; i < row.size(); ++i)
    ASSERT_LE(std::abs(again[i] - row[i]), std::abs(first[i] - row[i]) + 1e-6f) << i;
}

TEST_P(EveryBlockType, WeightsFarOutTakeTheOutermostCode) {
  if (!grid->has_limits()) GTEST_SKIP();
  const Bytes record = encoded(*grid, weights(4));
  std::vector<float> below(kColumns), above(kColumns), far(kColumns, 1e30f);
  grid->limits(record.data(), kColumns, below.data(), above.data());
  const std::vector<float> top = decoded(*grid, recoded(*grid, record, far));
  const std::vector<float> edge = decoded(*grid, recoded(*grid, record, above));
  for (size_t i = 0; i < far.size(); ++i) {
    ASSERT_LE(top[i], above[i]) << i;
    ASSERT_EQ(edge[i], top[i]) << i;
    ASSERT_LE(below[i], above[i]) << i;
  }
}

TEST_P(EveryBlockType, ScalesThatAreLearnedScaleTheValues) {
  const int64_t count = grid->scales(kColumns);
  if (count == 0) GTEST_SKIP();
  Bytes record = encoded(*grid, weights(5, 0.5f));
  const std::vector<float> before = decoded(*grid, record);
  std::vector<float> scales(static_cast<size_t>(count));
  grid->read_scales(record.data(), kColumns, scales.data());
  for (float& scale : scales) scale *= -2.0f;
  grid->write_scales(scales.data(), kColumns, record.data());
  const std::vector<float> after = decoded(*grid, record);
  for (size_t i = 0; i < before.size(); ++i) ASSERT_EQ(after[i], -2.0f * before[i]) << i;
}

std::vector<const GridRow*> block_types() {
  std::vector<const GridRow*> rows;
  for (const GridRow& row : grid_rows())
    if (row.name.starts_with("gguf:")) rows.push_back(&row);
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Names, EveryBlockType, testing::ValuesIn(block_types()));

// The scale of -8 ... 7 steps of a half, extreme -4: 1.3 is nearest to code 11 (1.5), and 9 beyond.
TEST(GgufGrid, NewCodesUnderAFrozenScale) {
  const auto grid = make_gguf_grid("gguf:q4_0");
  std::vector<float> row(kColumns, 0.0f);
  row[0] = -4.0f;
  const Bytes record = encoded(*grid, row);
  row[0] = 1.3f;
  row[1] = 9.0f;
  row[2] = -9.0f;
  const std::vector<float> values = decoded(*grid, recoded(*grid, record, row));
  EXPECT_EQ(values[0], 1.5f);
  EXPECT_EQ(values[1], 3.5f);
  EXPECT_EQ(values[2], -4.0f);
}

}  // namespace
}  // namespace isogrid
