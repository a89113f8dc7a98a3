#include "data/row_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/core/refusal.h"

namespace isogrid {
namespace {

/// "0:3 2:4 | 1:5" = row of examples 0 and 2, row of example 1; pieces of a cut text as 1:2+3,
/// which is three tokens from the second on.
std::string shown(const RowPlan& plan) {
  std::string text;
  size_t piece = 0;
  for (const uint64_t end : plan.row_ends) {
    if (piece > 0) text += " |";
    for (; piece < end; ++piece) {
      const RowPiece& p = plan.pieces[piece];
      text += (text.empty() ? "" : " ") + std::to_string(p.example) + ":" +
              (p.begin > 0 ? std::to_string(p.begin) + "+" : "") + std::to_string(p.tokens);
    }
  }
  return text;
}

RowPlan plan_of(const std::vector<int64_t>& lengths, PackOptions options) {
  ExampleList all;
  for (uint64_t i = 0; i < lengths.size(); ++i) all.push_back(i);
  return plan_rows(
      all, [&](uint64_t example) { return lengths[example]; }, options);
}

TEST(RowPlan, OneExampleARowWithoutPacking) {
  EXPECT_EQ(shown(plan_of({3, 9, 2}, {.cutoff_len = 4})), "0:3 | 1:9 | 2:2");
}

// Ten tokens a row: 7 and what fits beside it (3), then 6 and 4, then 5; equal ones in order.
TEST(RowPlan, TheLargestThatFitsGoesNext) {
  EXPECT_EQ(shown(plan_of({4, 7, 6, 3, 5}, {.packed = true, .cutoff_len = 10})),
            "1:7 3:3 | 2:6 0:4 | 4:5");
  EXPECT_EQ(shown(plan_of({5, 5, 5}, {.packed = true, .cutoff_len = 10})), "0:5 1:5 | 2:5");
}

TEST(RowPlan, OnlyAWindowIsPackedTogether) {
  EXPECT_EQ(shown(plan_of({2, 2, 2, 2, 2}, {.packed = true, .cutoff_len = 10, .window = 2})),
            "0:2 1:2 | 2:2 3:2 | 4:2");
}

TEST(RowPlan, TextsAreCutAndNothingIsLost) {
  const PackOptions options{.packed = true, .cut_texts = true, .cutoff_len = 5};
  EXPECT_EQ(shown(plan_of({3, 4, 6}, options)), "0:3 1:2 | 1:2+2 2:3 | 2:3+3");
  EXPECT_EQ(shown(plan_of({10}, options)), "0:5 | 0:5+5");
  const RowPlan last_alone = plan_of({6}, options);
  EXPECT_EQ(shown(last_alone), "0:5");  // the sixth predicts nothing
  EXPECT_EQ(last_alone.dropped_tokens, 1);
}

TEST(RowPlan, EveryTokenStandsInOneRow) {
  std::mt19937 random(11);
  for (int round = 0; round < 100; ++round) {
    std::vector<int64_t> lengths(1 + random() % 80);
    const int64_t cutoff = 2 + random() % 30;
    const PackOptions options{.packed = true,
                              .cut_texts = random() % 2 == 0,
                              .cutoff_len = cutoff,
                              .window = static_cast<int64_t>(1 + random() % 20)};
    for (int64_t& length : lengths) length = 1 + random() % (options.cut_texts ? 100 : cutoff);
    const RowPlan plan = plan_of(lengths, options);
    std::vector<int64_t> seen(lengths.size(), 0);
    size_t piece = 0;
    for (const uint64_t end : plan.row_ends) {
      int64_t row = 0;
      for (; piece < end; ++piece) {
        row += plan.pieces[piece].tokens;
        seen[plan.pieces[piece].example] += plan.pieces[piece].tokens;
      }
      ASSERT_LE(row, cutoff);
    }
    int64_t missing = 0;
    for (size_t i = 0; i < lengths.size(); ++i) missing += lengths[i] - seen[i];
    ASSERT_EQ(missing, plan.dropped_tokens);
  }
}

const std::vector<ExampleList> kThree = {{0, 1, 2}, {3, 4, 5, 6}, {7, 8, 9, 10, 11}};

// The peer's own examples: three datasets of 3, 4 and 5 rows.
TEST(Mix, TakesTurns) {
  EXPECT_EQ(mix_examples(kThree, {.strategy = "interleave_under", .chances = {}}),
            (ExampleList{0, 3, 7, 1, 4, 8, 2, 5, 9}));
  EXPECT_EQ(mix_examples(kThree, {.strategy = "interleave_over", .chances = {}}),
            (ExampleList{0, 3, 7, 1, 4, 8, 2, 5, 9, 0, 6, 10, 1, 3, 11}));
  EXPECT_EQ(mix_examples(kThree, {.strategy = "interleave_once", .chances = {}}),
            (ExampleList{0, 3, 7, 1, 4, 8, 2, 5, 9, 6, 10, 11}));
  EXPECT_EQ(mix_examples(kThree, {}).size(), 12u);
}

TEST(Mix, StopsWhereTheStrategySays) {
  MixOptions options{.strategy = "interleave_under", .chances = {0.6, 0.3, 0.1}, .seed = 5};
  const ExampleList under = mix_examples(kThree, options);
  EXPECT_EQ(under, mix_examples(kThree, options));
  std::map<size_t, size_t> drawn;
  for (const uint64_t example : under) ++drawn[example < 3 ? 0 : example < 7 ? 1 : 2];
  EXPECT_TRUE(drawn[0] == 3 || drawn[1] == 4 || drawn[2] == 5);
  options.strategy = "interleave_over";
  const ExampleList over = mix_examples(kThree, options);
  EXPECT_EQ(std::set<uint64_t>(over.begin(), over.end()).size(), 12u);
  options.strategy = "interleave_once";
  ExampleList once = mix_examples(kThree, options);
  std::sort(once.begin(), once.end());
  EXPECT_EQ(once, mix_examples(kThree, {}));
}

TEST(Mix, RefusesChancesThatCannotBe) {
  const auto mixing = [&](std::string strategy, std::vector<double> chances) {
    return [=] { mix_examples(kThree, {.strategy = strategy, .chances = chances}); };
  };
  expect_refusal(mixing("interleave_under", {0.5, 0.4}), ExitCode::configuration, "3 datasets");
  expect_refusal(mixing("interleave_under", {0.5, 0.4, 0.2}), ExitCode::configuration, "add up");
  expect_refusal(mixing("interleave_over", {0.5, 0.5, 0}), ExitCode::configuration, "chance 0");
}

TEST(HoldOut, TakesDistinctExamplesByChance) {
  ExampleList examples;
  for (uint64_t i = 0; i < 100; ++i) examples.push_back(i);
  for (uint64_t i = 0; i < 20; ++i) examples.push_back(i);
  const HeldOut share = hold_out(examples, 0.101, 1);
  EXPECT_EQ(share.held_out.size(), 11u);  // the ceiling of 10.1
  for (const uint64_t example : share.train)
    EXPECT_FALSE(std::binary_search(share.held_out.begin(), share.held_out.end(), example));
  EXPECT_TRUE(std::is_sorted(share.held_out.begin(), share.held_out.end()));
  EXPECT_EQ(hold_out(examples, 5, 1).held_out.size(), 5u);
  EXPECT_EQ(hold_out(examples, 5, 1).held_out, hold_out(examples, 5, 1).held_out);
  EXPECT_NE(hold_out(examples, 5, 1).held_out, hold_out(examples, 5, 2).held_out);
  expect_refusal([&] { hold_out(examples, 100, 1); }, ExitCode::configuration, "val_size");
}

TEST(Draw, RepeatsOnlyWhenItMust) {
  const ExampleList examples = {10, 11, 12, 13};
  ExampleList few = draw_examples(examples, 3, 9);
  EXPECT_EQ(std::set<uint64_t>(few.begin(), few.end()).size(), 3u);
  ExampleList many = draw_examples(examples, 9, 9);
  EXPECT_EQ(many.size(), 9u);
  EXPECT_EQ(std::set<uint64_t>(many.begin(), many.begin() + 4).size(), 4u);
}

}  // namespace
}  // namespace isogrid
