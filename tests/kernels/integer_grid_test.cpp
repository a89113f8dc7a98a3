// The same bits from every instruction set, for every kind of rule and awkward lengths.
#include "kernels/integer_grid.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/kernels/instruction_set.h"

namespace isogrid::kernels {
namespace {

std::vector<IntegerRule> rules() {
  IntegerRule plain, half, shared, rows, zeros;
  half.rounding = ScaleRounding::half;
  half.group = 64;
  shared.rounding = ScaleRounding::shared16;
  rows = {.group = 0,
          .lowest = -127,
          .highest = 127,
          .divide_low = 1,
          .divide_high = 1,
          .value_factor = 1.0f / 127,
          .by_reciprocal = true,
          .half_input = true};
  zeros = {.group = 32,
           .divide_high = 15,
           .smallest = 1e-6f,
           .has_zero = true,
           .rounding = ScaleRounding::bfloat};
  return {plain, half, shared, rows, zeros};
}

struct Coded {
  std::vector<float> scales, zeros, decoded, at_once;
  std::vector<int8_t> codes;
};

Coded coded(const IntegerGridKernels& kernels, const IntegerRule& rule,
            const std::vector<float>& row) {
  const auto n = static_cast<int64_t>(row.size());
  const int64_t groups = rule.group == 0 ? 1 : n / rule.group;
  Coded c;
  c.scales.resize(static_cast<size_t>(groups));
  c.zeros.resize(static_cast<size_t>(groups));
  c.codes.resize(row.size());
  c.decoded.resize(row.size());
  c.at_once.resize(row.size());
  kernels.encode(rule, row.data(), n, c.scales.data(), c.zeros.data(), c.codes.data());
  kernels.decode(rule, c.scales.data(), c.zeros.data(), c.codes.data(), n, c.decoded.data());
  kernels.round_trip(rule, row.data(), n, c.at_once.data());
  return c;
}

class IntegerGridKernelTest : public InstructionSetTest {};

TEST_P(IntegerGridKernelTest, GivesTheBitsOfTheBaseline) {
  for (const IntegerRule& rule : rules())
    for (const size_t columns : {64, 128, 640}) {
      std::vector<float> row = random(columns + (rule.group == 0 ? 5 : 0));
      for (size_t i = 0; i < row.size(); ++i) row[i] *= std::exp2(static_cast<float>(i % 40) - 30);
      const Coded mine = coded(integer_grid_kernels(GetParam()), rule, row);
      const Coded base = coded(integer_grid_kernels(Isa::baseline), rule, row);
      EXPECT_EQ(mine.codes, base.codes);
      EXPECT_EQ(std::memcmp(mine.scales.data(), base.scales.data(), mine.scales.size() * 4), 0);
      EXPECT_EQ(std::memcmp(mine.zeros.data(), base.zeros.data(), mine.zeros.size() * 4), 0);
      EXPECT_EQ(std::memcmp(mine.decoded.data(), base.decoded.data(), row.size() * 4), 0);
      EXPECT_EQ(std::memcmp(mine.at_once.data(), mine.decoded.data(), row.size() * 4), 0);
    }
}

INSTANTIATE_TEST_SUITE_P(All, IntegerGridKernelTest, kEveryIsa);

}  // namespace
}  // namespace isogrid::kernels
