#include "configs/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace isogrid {
namespace {

TEST(Utf8, AcceptsWhatIsWellFormed) {
  for (std::string text : {"", "plain\ttext\r\n", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                           "\xEF\xBB\xBFx", "\xED\x9F\xBF", "\xEE\x80\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_EQ(first_bad_character(text), text.size()) << text;
}

TEST(Utf8, PointsAtTheFirstByteThatIsNot) {
  for (std::string bad : {"\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80",
                          "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
                          "\x80", "\xE2\x82", "\xC3", "\x01", "\x7F", "\xC2\x85"})
    EXPECT_EQ(first_bad_character("ok" + bad + "ok"), 2u) << bad;
  EXPECT_EQ(first_bad_character(std::string("a\0b", 3)), 1u);
}

}  // namespace
}  // namespace isogrid
