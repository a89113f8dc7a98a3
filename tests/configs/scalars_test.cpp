#include "configs/scalars.h"

#include <gtest/gtest.h>

#include <limits>

namespace isogrid {
namespace {

TEST(Switches, HaveEightWordsInThreeSpellings) {
  for (const char* word : {"true", "True", "TRUE", "yes", "Yes", "on", "ON", "1"})
    EXPECT_EQ(read_bool(word).value, true) << word;
  for (const char* word : {"false", "False", "FALSE", "no", "No", "off", "OFF", "0"})
    EXPECT_EQ(read_bool(word).value, false) << word;
  for (const char* word : {"", "tRue", "y", "n", "2", "truee", " true", "01"})
    EXPECT_FALSE(read_bool(word).value) << word;
}

TEST(WholeNumbers, MeanOneThingOrNothing) {
  const auto value = [](const char* word) { return read_integer(word).value; };
  EXPECT_EQ(value("0"), 0);
  EXPECT_EQ(value("-0"), 0);
  EXPECT_EQ(value("+12"), 12);
  EXPECT_EQ(value("-7"), -7);
  EXPECT_EQ(value("1_000"), 1000);
  EXPECT_EQ(value("0o17"), 15);
  EXPECT_EQ(value("0x1F"), 31);
  EXPECT_EQ(value("1e3"), 1000);
  EXPECT_EQ(value("3.0"), 3);
  EXPECT_EQ(value("9223372036854775807"), std::numeric_limits<int64_t>::max());
  for (const char* word : {"",
                           "-",
                           "+",
                           "_1",
                           "1_",
                           "1__0",
                           "017",
                           "0o18",
                           "0x",
                           "1.5",
                           "1e-1",
                           "1e30",
                           "9223372036854775808",
                           "99999999999999999999",
                           "twelve",
                           "1 2",
                           ".inf",
                           "nan",
                           "0b1",
                           "1,000",
                           "--1"})
    EXPECT_FALSE(value(word)) << word;
}

TEST(Numbers, MeanOneThingOrNothing) {
  const auto value = [](const char* word) { return read_number(word).value; };
  EXPECT_EQ(value("1e-5"), 1e-5);
  EXPECT_EQ(value("2e-4"), 2e-4);
  EXPECT_EQ(value("2.0e-4"), 2e-4);
  EXPECT_EQ(value("2E-4"), 2e-4);
  EXPECT_EQ(value("0.0002"), 2e-4);
  EXPECT_EQ(value(".5"), 0.5);
  EXPECT_EQ(value("5."), 5.0);
  EXPECT_EQ(value("+1_000.5"), 1000.5);
  EXPECT_EQ(value("-3"), -3.0);
  for (const char* word :
       {"",     ".",   "-",     "e5",       "1e",   "1e+",  "1e400", "1e-400", "nan", ".nan", "NaN",
        ".NaN", "inf", "-.inf", "Infinity", "0x10", "00.5", "1.2.3", "1/3",    "5%",  "1e5x"})
    EXPECT_FALSE(value(word)) << word;
}

TEST(Nothing, IsWrittenInFiveWays) {
  for (const char* word : {"", "~", "null", "Null", "NULL"}) EXPECT_TRUE(is_null_word(word));
  for (const char* word : {"none", "nULL", "0", "nil"}) EXPECT_FALSE(is_null_word(word));
}

TEST(NumberText, ReadsBackAsTheSameNumber) {
  for (double value : {0.0, 1.0, -1.0, 500.0, 0.1, 2e-4, 1e-8, 1e300, 5e-324 * 4503599627370496.0,
                       123456789.125, 4294967295.0, 1.0 / 3.0})
    EXPECT_EQ(read_number(number_text(value)).value, value) << number_text(value);
  EXPECT_EQ(number_text(500), "500");
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(-0.0), "0");
}

}  // namespace
}  // namespace isogrid
