#include "models/score.h"

#include <gtest/gtest.h>

#include <set>

#include "core/error.h"

namespace isogrid {
namespace {

TEST(ScoredSpans, OfTenTokensWithWindowFourAndStrideTwo) {
  // i = 0: reads [0, 2), scores 1; i = 2: reads [0, 4), scores 2 and 3; i = 4: reads [2, 6) ...
  const auto spans = scored_spans(10, {.window = 4, .stride = 2});
  ASSERT_EQ(spans.size(), 5u);
  EXPECT_EQ(spans[0].begin, 0);
  EXPECT_EQ(spans[0].end, 2);
  EXPECT_EQ(spans[0].first_scored, 1);
  EXPECT_EQ(spans[2].begin, 2);
  EXPECT_EQ(spans[2].end, 6);
  EXPECT_EQ(spans[2].first_scored, 4);
}

TEST(ScoredSpans, ScoreEveryTokenButTheFirstOnceForAnySizes) {
  for (const int64_t tokens : {0, 1, 2, 3, 17, 100, 101})
    for (const int64_t window : {2, 3, 16, 64, 200})
      for (int64_t stride = 1; stride < window; stride += 3) {
        std::multiset<int64_t> scored;
        for (const ScoredSpan& span : scored_spans(tokens, {window, stride})) {
          EXPECT_LE(span.end - span.begin, window);
          EXPECT_GT(span.first_scored, span.begin);
          for (int64_t token = span.first_scored; token < span.end; ++token) scored.insert(token);
        }
        ASSERT_EQ(scored.size(), static_cast<size_t>(std::max<int64_t>(0, tokens - 1)));
        for (int64_t token = 1; token < tokens; ++token) EXPECT_EQ(scored.count(token), 1u);
      }
}

TEST(ScoredSpans, RefuseAStrideThatWouldSkipTokens) {
  EXPECT_THROW(scored_spans(10, {.window = 4, .stride = 5}), Error);
  EXPECT_THROW(scored_spans(10, {.window = 1, .stride = 1}), Error);
  EXPECT_THROW(scored_spans(10, {.window = 4, .stride = 0}), Error);
}

}  // namespace
}  // namespace isogrid
