#include "data/tokenizer/tokenize_lines.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "tests/core/refusal.h"
#include "tests/data/tokenizer_json.h"

namespace isogrid {
namespace {

std::string run_lines(const std::string& input, bool decode = false, unsigned threads = 1) {
  std::ostringstream out;
  TokenizeLines lines;
  lines.decode = decode;
  lines.threads = threads;
  // Five bytes at a time: lines come in parts.
  size_t at = 0;
  const auto read = [&](char* to, size_t most) {
    const size_t count = input.copy(to, std::min<size_t>(most, 5), at);
    at += count;
    return count;
  };
  lines.run(TokenizerJson().load(), read, out);
  return out.str();
}

TEST(TokenizeLines, WritesOneArrayForEveryString) {
  EXPECT_EQ(run_lines("\"abc\"\n\"\"\n\"\\u0061b\"\n"), "[5]\n[]\n[3]\n");
  EXPECT_EQ(run_lines("\"abc\"\r\n\"ab\""), "[5]\n[3]\n");  // other line ends, none at the end
  EXPECT_EQ(run_lines(""), "");
}

TEST(TokenizeLines, TurnsIdsBackIntoOneLineOfJson) {
  EXPECT_EQ(run_lines("[5, 6, 0]\n[]\n", /*decode=*/true), "\"abc a\"\n\"\"\n");
  std::string escaped;
  append_json_string(escaped, "a\"\\\n\t\u0085\u2028\u00E9");
  EXPECT_EQ(escaped, "\"a\\\"\\\\\\n\\u0009\\u0085\\u2028\u00E9\"");
}

TEST(TokenizeLines, KeepsTheOrderWithSeveralThreads) {
  std::string input, expected;
  for (int i = 0; i < 1000; ++i) {
    input += i % 3 ? "\"abc\"\n" : "\"ab ab\"\n";
    expected += i % 3 ? "[5]\n" : "[3, 6, 3]\n";
  }
  EXPECT_EQ(run_lines(input, false, 3), expected);
}

TEST(TokenizeLines, NamesTheLineItCannotRead) {
  const auto refused = [](const std::string& line, bool decode) {
    expect_refusal([&] { run_lines((decode ? "[0]\n" : "\"a\"\n") + line + "\n", decode); },
                   ExitCode::refused_input, "stdin:2:");
  };
  for (const char* line :
       {"", "a", "\"a", "\"a\" \"b\"", "[1]", "\"\\ud800\"", "\"\\udc00\"", "\"\xFF\""})
    refused(line, false);
  for (const char* line : {"\"a\"", "[1", "[-1]", "[1.5]", "[4294967296]", "[[1]]"})
    refused(line, true);
}

}  // namespace
}  // namespace isogrid
