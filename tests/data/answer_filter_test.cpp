#include "data/templates/answer_filter.h"

#include <gtest/gtest.h>

namespace isogrid {
namespace {

TEST(AnswerFilter, HoldsBackWhatMayBecomeTheStopString) {
  AnswerFilter filter(" ", "\nUser:");
  EXPECT_EQ(filter.push(""), "");
  EXPECT_EQ(filter.push(" Hel"), "Hel");
  EXPECT_EQ(filter.push("lo\nUs"), "lo");
  EXPECT_EQ(filter.push("ed\n"), "\nUsed");
  EXPECT_EQ(filter.push("\nUser"), "\n");
  EXPECT_FALSE(filter.stopped());
  EXPECT_EQ(filter.push(": next"), "");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.push("more"), "");
  EXPECT_EQ(filter.finish(), "");
  EXPECT_EQ(filter.shown(), "Hello\nUsed\n");
}

TEST(AnswerFilter, GivesTheHeldBackTextAtTheEnd) {
  AnswerFilter filter("", "\nUser:");
  EXPECT_EQ(filter.push("a\nUser"), "a");
  EXPECT_EQ(filter.finish(), "\nUser");
}

TEST(AnswerFilter, AnAnswerWithoutTheLeadKeepsAllItsText) {
  AnswerFilter filter(" ", "");
  EXPECT_EQ(filter.push("Hi"), "Hi");
  EXPECT_EQ(filter.push(" there"), " there");
  EXPECT_EQ(AnswerFilter("  ", "").push(" x"), " x");
}

}  // namespace
}  // namespace isogrid
