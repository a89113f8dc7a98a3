#include "core/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace isogrid {
namespace {

TEST(Format, BytesComeInBinaryUnits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(1288490189), "1.2 GiB");
  EXPECT_EQ(human_bytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(human_bytes(std::numeric_limits<uint64_t>::max()), "16.0 EiB");
}

TEST(Format, CountsComeInThousands) {
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(596'049'920), "596.0 M");
  EXPECT_EQ(human_count(3'090'000'000), "3.1 B");
}

TEST(Format, SecondsComeInTheTwoUnitsThatMatter) {
  EXPECT_EQ(human_seconds(0.84), "0.8 s");
  EXPECT_EQ(human_seconds(9.99), "10 s");
  EXPECT_EQ(human_seconds(59.6), "1 min 00 s");
  EXPECT_EQ(human_seconds(245), "4 min 05 s");
  EXPECT_EQ(human_seconds(3 * 3600 + 7 * 60), "3 h 07 min");
  EXPECT_EQ(human_seconds(52 * 3600), "2 d 04 h");
  EXPECT_EQ(human_seconds(std::nan("")), "a long time");
}

}  // namespace
}  // namespace isogrid
