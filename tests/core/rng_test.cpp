#include "core/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace isogrid {
namespace {

TEST(Philox, GivesThePublishedWords) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, IsAFunctionOfSeedPurposeAndCoordinates) {
  Rng a(7, Purpose::sampling, {3, 4});
  Rng b(7, Purpose::sampling, {3, 4});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.next(), b.next());

  std::set<uint32_t> first_words;
  first_words.insert(Rng(7, Purpose::sampling, {3, 4}).next());
  first_words.insert(Rng(7, Purpose::sampling, {4, 3}).next());
  first_words.insert(Rng(7, Purpose::sampling, {3}).next());
  first_words.insert(Rng(7, Purpose::sampling, {}).next());
  first_words.insert(Rng(7, Purpose::sampling, {3, 4, 0}).next());
  first_words.insert(Rng(7, Purpose::dropout, {3, 4}).next());
  first_words.insert(Rng(8, Purpose::sampling, {3, 4}).next());
  first_words.insert(Rng(uint64_t{7} << 32, Purpose::sampling, {3, 4}).next());
  EXPECT_EQ(first_words.size(), 8u);
}

TEST(Rng, DrawsTheWordsOfItsBlocksInOrder) {
  Rng rng(1, Purpose::row_order);
  for (uint64_t n = 0; n < 3; ++n) {
    for (const uint32_t word : rng.block(n)) EXPECT_EQ(rng.next(), word);
  }
}

TEST(Rng, UniformNumbersStayBelowOneAndAverageToAHalf) {
  Rng rng(11, Purpose::sampling);
  const int draws = 1 << 16;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < draws; ++i) {
    const double x = i % 2 == 0 ? rng.uniform() : rng.uniform_double();
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / draws, 0.5, 5 / (std::sqrt(12.0 * draws)));
  EXPECT_NEAR(squares / draws, 1.0 / 3.0, 0.006);
}

}  // namespace
}  // namespace isogrid
