#include "trainer/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace isogrid {
namespace {

Schedule schedule_of(const std::string& shape, double warmup, int64_t total,
                     std::map<std::string, double> numbers = {}) {
  OptimizerConfig config;
  config.learning_rate = 2.0;
  config.lr_scheduler_type = shape;
  config.warmup_steps = warmup;
  config.lr_scheduler_kwargs = std::move(numbers);
  return make_schedule(config, total);
}

TEST(Schedule, LinearRisesAndFalls) {
  const Schedule s = schedule_of("linear", 4, 14);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 0.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(s, 4), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 9), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 13), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(s, 14), 0.0);
}

TEST(Schedule, AWarmUpBelowOneIsAShareRoundedUp) {
  EXPECT_EQ(schedule_of("linear", 0.03, 100).warmup, 3);
  EXPECT_EQ(schedule_of("linear", 0.03, 101).warmup, 4);
  EXPECT_EQ(schedule_of("constant", 5, 100).warmup, 0);
  EXPECT_EQ(schedule_of("constant_with_warmup", 5, 100).warmup, 5);
}

TEST(Schedule, CosineIsHalfWayInTheMiddle) {
  const Schedule s = schedule_of("cosine", 0, 10);
  EXPECT_DOUBLE_EQ(learning_rate(s, 0), 2.0);
  EXPECT_NEAR(learning_rate(s, 5), 1.0, 1e-15);
  EXPECT_NEAR(learning_rate(s, 3), 1.0 + std::cos(0.3 * std::numbers::pi), 1e-15);
}

TEST(Schedule, CosineStopsAtItsLeastRate) {
  const Schedule s = schedule_of("cosine_with_min_lr", 0, 10, {{"min_lr", 0.5}});
  EXPECT_NEAR(learning_rate(s, 10), 0.5, 1e-15);
  EXPECT_NEAR(learning_rate(s, 5), 1.25, 1e-15);
}

TEST(Schedule, PolynomialEndsAtItsLastRate) {
  const Schedule s = schedule_of("polynomial", 0, 4, {{"power", 2}, {"lr_end", 0.4}});
  EXPECT_DOUBLE_EQ(learning_rate(s, 2), 1.6 * 0.25 + 0.4);
  EXPECT_DOUBLE_EQ(learning_rate(s, 4), 0.4);
}

TEST(Schedule, InverseSquareRootStartsAtTheWarmUp) {
  const Schedule s = schedule_of("inverse_sqrt", 4, 100);
  EXPECT_DOUBLE_EQ(learning_rate(s, 4), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 16), 1.0);
}

TEST(Schedule, WarmupStableDecayHoldsForAThird) {
  const Schedule s = schedule_of("warmup_stable_decay", 1, 10);
  EXPECT_DOUBLE_EQ(learning_rate(s, 1), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 3), 2.0);
  EXPECT_NEAR(learning_rate(s, 7), 1.0, 1e-15);  // half of the six steps of decay
  EXPECT_NEAR(learning_rate(s, 10), 0.0, 1e-15);
}

TEST(Schedule, RefusesANumberTheShapeDoesNotHave) {
  EXPECT_THROW(schedule_of("linear", 0, 10, {{"power", 2}}), Error);
}

}  // namespace
}  // namespace isogrid
