#include "trainer/run_directory/retention.h"

#include <gtest/gtest.h>

namespace isogrid {
namespace {

using Steps = std::vector<int64_t>;

const auto kAllSound = [](int64_t) { return true; };

TEST(Retention, KeepsTheNewestByNumber) {
  EXPECT_EQ(steps_to_delete({100, 90, 20, 9}, {.limit = 2}, kAllSound), (Steps{9, 20}));
  EXPECT_EQ(steps_to_delete({100, 90, 20, 9}, {.limit = 1}, kAllSound), (Steps{9, 20, 90}));
  EXPECT_EQ(steps_to_delete({100, 90}, {.limit = 2}, kAllSound), (Steps{}));
  EXPECT_EQ(steps_to_delete({100, 90}, {}, kAllSound), (Steps{}));
}

TEST(Retention, SparesTheExempt) {
  EXPECT_EQ(steps_to_delete({100, 90, 20, 9}, {.limit = 1, .exempt = {20}}, kAllSound),
            (Steps{9, 90}));
}

TEST(Retention, CountsOnlySoundOnesAsKept) {
  const auto sound = [](int64_t step) { return step != 100; };
  EXPECT_EQ(steps_to_delete({100, 90, 20, 9}, {.limit = 1}, sound), (Steps{9, 20}));
  const auto none = [](int64_t) { return false; };
  EXPECT_EQ(steps_to_delete({100, 90, 20, 9}, {.limit = 1}, none), (Steps{}));
}

TEST(Retention, LooksAtNoMoreThanItNeeds) {
  Steps asked;
  const auto note = [&](int64_t step) { return asked.push_back(step), true; };
  steps_to_delete({100, 90, 20, 9}, {.limit = 2}, note);
  EXPECT_EQ(asked, (Steps{100, 90}));
  asked.clear();
  steps_to_delete({100, 90}, {.limit = 2}, note);
  EXPECT_EQ(asked, (Steps{}));
}

}  // namespace
}  // namespace isogrid
