#include "quant/lut_table.h"

#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "quant/packed_codes.h"
#include "tests/quant/gradient_check.h"

namespace isogrid {
namespace {

using test::difference_quotient;
using test::gap;

std::vector<double> listed(const at::Tensor& values) {
  const at::Tensor wide = values.to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

std::vector<uint16_t> half_bits(const at::Tensor& values) {
  std::vector<uint16_t> bits;
  for (const double value : listed(values))
    bits.push_back(std::bit_cast<uint16_t>(static_cast<_Float16>(static_cast<float>(value))));
  return bits;
}

TEST(LutTable, TheUniformTablesAreTheseFloat16Numbers) {
  EXPECT_EQ(half_bits(uniform_table(2)), (std::vector<uint16_t>{0xbc00, 0xb556, 0x3556, 0x3c00}));
  const std::vector<uint16_t> upper{0x2c48, 0x3268, 0x3556, 0x3778, 0x38cd, 0x39de, 0x3aef, 0x3c00};
  const at::Tensor table = uniform_table(4);
  EXPECT_EQ(half_bits(table.slice(0, 8)), upper);
  EXPECT_TRUE(is_symmetric(table));
  EXPECT_TRUE(as_half(table).equal(table));
}

TEST(LutTable, TheLeastStepIsTwoUnitsOfFloat16AtTheTop) {
  EXPECT_EQ(least_step(1.0), 0.001953125);
  EXPECT_EQ(least_step(1.5), 0.00390625);
  EXPECT_EQ(least_step(2.0), 0.00390625);
  EXPECT_EQ(least_step(1e-3), 1e-4);
}

TEST(LutTable, LogitsGiveTheTableTheyWereMadeFrom) {
  for (const int bits : {2, 4}) {
    LutTable table{uniform_table(bits), {}};
    give_logits(table);
    EXPECT_EQ(table.logits.size(0), bits == 2 ? 2 : 8);
    EXPECT_LE(gap(table_values(table, at::kFloat, false), uniform_table(bits)), 1e-3);
    EXPECT_EQ(table_values(table, at::kDouble, false)[-1].item<double>(), 1.0);
  }
}

// Rounding to float16 is left out: the quotient sees the values before it.
TEST(LutTable, TheLogitsGradientIsItsDifferenceQuotient) {
  LutTable table{uniform_table(4).to(at::kDouble), {}};
  give_logits(table);
  table.logits.requires_grad_();
  const at::Tensor d = at::randn({16}, at::kDouble);
  accumulate_table(table, d);
  const double least = least_step(1.0);
  const auto loss = [&] {
    std::vector<double> logits = listed(table.logits);
    double total = 0, sum = 0, result = 0;
    for (const double logit : logits) total += std::exp(logit);
    for (size_t i = 0; i < 8; ++i) {
      sum += least + (1.0 - 8 * least) * std::exp(logits[i]) / total;
      result += sum * (listed(d)[8 + i] - listed(d)[7 - i]);
    }
    return result;
  };
  EXPECT_LE(gap(table.logits.grad(), difference_quotient(table.logits.detach(), loss)), 1e-8);
}

TEST(LutTable, ValuesOfATrainedTableAreApartInFloat16) {
  LutTable table{uniform_table(4), {}};
  give_logits(table);
  table.logits = at::tensor({9.0f, -9.0f, -9.0f, -9.0f, -9.0f, -9.0f, -9.0f, -9.0f});
  const at::Tensor values = table_values(table, at::kFloat, false);
  EXPECT_TRUE(as_half(values).equal(values));
  EXPECT_TRUE(values.slice(0, 1).gt(values.slice(0, 0, 15)).all().item<bool>());
}

TEST(LutTable, AnAsymmetricTableTrainsValueByValue) {
  LutTable table{at::tensor({-0.7f, -0.2f, 0.3f, 0.8f}).requires_grad_(), {}};
  const at::Tensor d = at::randn({4});
  accumulate_table(table, d);
  EXPECT_TRUE(table.values.grad().equal(d));
}

TEST(LutTable, DuplicatesAreSpreadAndTheEndStays) {
  const at::Tensor broken = at::tensor({-1.0f, -1.0f, -0.5f, 0.0f, 0.0f, 0.5f, 1.0f, 1.0f});
  const at::Tensor repaired = repaired_table(broken);
  EXPECT_TRUE(is_symmetric(repaired));
  EXPECT_EQ(repaired[-1].item<float>(), 1.0f);
  EXPECT_TRUE(repaired.slice(0, 1).gt(repaired.slice(0, 0, 7)).all().item<bool>());
  EXPECT_FALSE(repaired.eq(0).any().item<bool>());
  const at::Tensor skew = repaired_table(at::tensor({-0.5f, -0.5f, 0.0f, 1.0f}));
  EXPECT_TRUE(skew.slice(0, 1).gt(skew.slice(0, 0, 3)).all().item<bool>());
}

TEST(LutTable, HalfClampsToItsRange) {
  EXPECT_EQ(as_half(at::tensor({1e6f}))[0].item<float>(), 65504.0f);
}

TEST(PackedCodes, ComeBackWhateverTheLength) {
  for (const int bits : {2, 4})
    for (const int64_t columns : {1, 3, 4, 7, 16, 129}) {
      const at::Tensor codes =
          (at::randn({5, columns}) * 100).to(at::kLong).remainder(1 << bits).to(at::kByte);
      const at::Tensor packed = pack_codes(codes, bits);
      EXPECT_EQ(packed.size(1), packed_bytes(columns, bits));
      EXPECT_TRUE(unpack_codes(packed, bits, columns).equal(codes));
    }
}

// The first code lies in the lowest bits.
TEST(PackedCodes, LieLittleEndFirst) {
  const at::Tensor two = at::tensor({1, 2, 3, 0, 1}, at::kByte).reshape({1, 5});
  EXPECT_EQ(pack_codes(two, 2)[0][0].item<int>(), 0b00111001);
  EXPECT_EQ(pack_codes(two, 2)[0][1].item<int>(), 1);
  EXPECT_EQ(pack_codes(two, 4)[0][0].item<int>(), 0x21);
}

}  // namespace
}  // namespace isogrid
