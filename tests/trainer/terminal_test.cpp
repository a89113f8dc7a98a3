#include "trainer/terminal.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace isogrid {
namespace {

TEST(Terminal, TablesAlignNumbersToTheRight) {
  Table table({"tensor", "bytes", "dtype"});
  table.add({"embed", "1.2 GiB", "BF16"});
  table.add({"norm", "640 B", "F32"});
  EXPECT_EQ(table.text(),
            "tensor    bytes  dtype\n"
            "embed   1.2 GiB  BF16\n"
            "norm      640 B  F32\n");
}

TEST(Terminal, WideAndCombiningCharactersCountAsTheyAreShown) {
  EXPECT_EQ(columns_of("Straße"), 6u);
  EXPECT_EQ(columns_of("北京"), 4u);
  EXPECT_EQ(columns_of("e\u0301"), 1u);
  EXPECT_EQ(columns_of("\xff\xfe"), 2u);
}

TEST(Terminal, AFileGetsNoColours) {
  std::FILE* file = std::tmpfile();
  EXPECT_FALSE(is_terminal(file));
  EXPECT_EQ(inked(file, Ink::red, "x"), "x");
  ::setenv("COLUMNS", "123", 1);
  EXPECT_EQ(terminal_width(file), 123);
  ::setenv("COLUMNS", "wide", 1);
  EXPECT_EQ(terminal_width(file), 80);
  ::unsetenv("COLUMNS");
  std::fclose(file);
}

TEST(Terminal, ShortWorkLeavesNoLinesInAFile) {
  std::FILE* file = std::tmpfile();
  {
    ProgressLine progress("tokens", 10, file);
    for (int64_t done = 0; done <= 10; ++done) progress.show(done);
  }
  EXPECT_EQ(std::ftell(file), 0);
  std::fclose(file);
}

}  // namespace
}  // namespace isogrid
