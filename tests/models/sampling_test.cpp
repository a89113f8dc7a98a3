#include "models/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/error.h"

namespace isogrid {
namespace {

std::map<int32_t, double> distribution(std::vector<float> logits,
                                       const SamplingSettings& settings) {
  std::map<int32_t, double> by_id;
  for (const auto& [id, probability] : sampling_distribution(logits, settings)) {
    by_id[id] = probability;
  }
  return by_id;
}

// e^0 : e^ln2 : e^ln4 : e^ln1 = 1 : 2 : 4 : 1, eighths.
const std::vector<float> kEighths = {0.0f, std::log(2.0f), std::log(4.0f), 0.0f};

TEST(Sampling, WithoutFiltersIsTheSoftmax) {
  const auto p = distribution(kEighths, {});
  ASSERT_EQ(p.size(), 4u);
  EXPECT_NEAR(p.at(0), 1.0 / 8, 1e-7);
  EXPECT_NEAR(p.at(1), 2.0 / 8, 1e-7);
  EXPECT_NEAR(p.at(2), 4.0 / 8, 1e-7);
}

TEST(Sampling, TemperatureDividesTheLogits) {
  const auto p = distribution(kEighths, {.temperature = 0.5});  // squares: 1 : 4 : 16 : 1
  EXPECT_NEAR(p.at(2), 16.0 / 22, 1e-6);
  EXPECT_NEAR(p.at(1), 4.0 / 22, 1e-6);
}

TEST(Sampling, TopKKeepsEqualsOfTheLastOne) {
  EXPECT_EQ(distribution(kEighths, {.top_k = 2}).size(), 2u);
  EXPECT_EQ(distribution(kEighths, {.top_k = 3}).size(), 4u);  // ids 0 and 3 are equal
  EXPECT_EQ(distribution(kEighths, {.top_k = 99}).size(), 4u);
}

TEST(Sampling, TopPKeepsTheShortestRunThatReachesIt) {
  EXPECT_EQ(distribution(kEighths, {.top_p = 0.49}).size(), 1u);
  EXPECT_EQ(distribution(kEighths, {.top_p = 0.51}).size(), 2u);
  const auto p = distribution(kEighths, {.top_p = 0.76});
  ASSERT_EQ(p.size(), 3u);
  EXPECT_TRUE(p.contains(3));  // of equals the lower id falls first
  EXPECT_NEAR(p.at(2), 4.0 / 7, 1e-6);
  EXPECT_EQ(distribution(kEighths, {.top_p = 0.0}).size(), 1u);
}

TEST(Sampling, TopPCountsWhatTopKLeft) {
  // Of 2 : 4 the larger has 2/3, which reaches 0.6 alone; of all it has only 1/2.
  EXPECT_EQ(distribution(kEighths, {.top_k = 2, .top_p = 0.6}).size(), 1u);
}

TEST(Sampling, MinPIsAShareOfTheMostLikely) {
  EXPECT_EQ(distribution(kEighths, {.min_p = 0.49}).size(), 2u);
  EXPECT_EQ(distribution(kEighths, {.min_p = 0.51}).size(), 1u);
  EXPECT_EQ(distribution(kEighths, {.min_p = 1.0}).size(), 1u);
}

TEST(Sampling, RepetitionPenaltyCountsAnIdOnce) {
  std::vector<float> logits = {2.0f, -2.0f, 1.0f};
  const std::vector<int32_t> history = {0, 1, 0, 0, 7, -1};
  apply_repetition_penalty(logits, history, 2.0);
  EXPECT_EQ(logits, (std::vector<float>{1.0f, -4.0f, 1.0f}));
}

TEST(Sampling, GreedyTakesTheLowestOfEqualsAfterThePenalty) {
  std::vector<float> logits = {1.0f, 3.0f, 3.0f};
  Rng rng(0, Purpose::sampling);
  EXPECT_EQ(sample(logits, {.do_sample = false}, {}, rng), 1);
  const std::vector<int32_t> history = {1};
  EXPECT_EQ(sample(logits, {.do_sample = false, .repetition_penalty = 1.1}, history, rng), 2);
}

TEST(Sampling, FrequenciesFollowTheProbabilities) {
  std::vector<int> count(4);
  const int draws = 80000;
  for (int i = 0; i < draws; ++i) {
    std::vector<float> logits = kEighths;
    Rng rng(5, Purpose::sampling, {static_cast<uint64_t>(i)});
    ++count[static_cast<size_t>(sample(logits, {}, {}, rng))];
  }
  EXPECT_NEAR(count[0], draws / 8, 500);
  EXPECT_NEAR(count[1], draws / 4, 600);
  EXPECT_NEAR(count[2], draws / 2, 700);
}

TEST(Sampling, SameSeedSameTokens) {
  std::vector<float> logits(1000);
  Rng noise(1, Purpose::sampling);
  for (float& logit : logits) logit = noise.uniform() * 4;
  const auto draw = [&](uint64_t seed) {
    Rng rng(seed, Purpose::sampling, {0});
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) {
      std::vector<float> copy = logits;
      ids.push_back(sample(copy, {.top_k = 40, .top_p = 0.9}, {}, rng));
    }
    return ids;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

// The straightforward way over a whole sorted vocabulary, against the partial selections.
TEST(Sampling, LargeVocabulariesAgreeWithAFullSort) {
  Rng noise(2, Purpose::sampling);
  std::vector<float> logits(151'936);
  for (float& logit : logits) logit = std::round(noise.uniform() * 4000) / 1000;  // many equals
  std::vector<float> sorted = logits;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (const int64_t k : {1, 50, 255, 256, 5000, 151'935}) {
    const float least = sorted[static_cast<size_t>(k - 1)];
    const auto expected =
        std::count_if(logits.begin(), logits.end(), [&](float logit) { return logit >= least; });
    EXPECT_EQ(sampling_distribution(logits, {.top_k = k}).size(), static_cast<size_t>(expected));
  }
  double mass = 0;
  for (const float logit : sorted) mass += std::exp(static_cast<double>(logit) - 4.0);
  for (const double p : {0.01, 0.3, 0.9, 0.9999}) {
    size_t expected = 0;
    for (double before = 0; before < p * mass;) {
      before += std::exp(static_cast<double>(sorted[expected++]) - 4.0);
    }
    EXPECT_EQ(sampling_distribution(logits, {.top_p = p}).size(), expected);
  }
}

TEST(Sampling, MaskedTokensAreNeverDrawn) {
  const float none = -std::numeric_limits<float>::infinity();
  const auto p = distribution({none, 1.0f, none}, {.top_k = 2, .top_p = 0.9});
  ASSERT_EQ(p.size(), 1u);
  EXPECT_EQ(p.begin()->first, 1);
}

TEST(Sampling, RefusesLogitsThatAreNotNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& logits :
       {std::vector<float>{0, nan}, {nan, 0}, {infinite, 0}, {-infinite, -infinite}, {}}) {
    try {
      most_likely(logits);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::numeric);
    }
  }
}

TEST(Sampling, SettingsOutOfRangeAreAllNamed) {
  const SamplingSettings bad{
      .temperature = 0, .top_k = -1, .top_p = 1.5, .min_p = -0.1, .repetition_penalty = 0};
  EXPECT_EQ(bad.problems().size(), 5u);
  EXPECT_TRUE((SamplingSettings{.do_sample = false, .temperature = 0}.problems().empty()));
}

}  // namespace
}  // namespace isogrid
