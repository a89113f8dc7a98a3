#include "core/json.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "core/json_reader.h"
#include "tests/core/refusal.h"

namespace isogrid {
namespace {

Json parse(const std::string& text) { return parse_json(text, "f.json"); }

TEST(Json, KeepsOrderIntegersAndUnicode) {
  const std::string text =
      R"({"b": 1, "a": [true, null, -7, 18446744073709551615, 1e-06, "é\ud83d\ude00\n"]})";
  const Json json = parse(text);
  EXPECT_EQ(json.begin().key(), "b");
  EXPECT_EQ(json["a"][2], -7);
  EXPECT_EQ(json["a"][3].get<uint64_t>(), 18446744073709551615ULL);
  EXPECT_EQ(json["a"][4].get<double>(), 1e-6);
  EXPECT_EQ(json["a"][5], "é😀\n");
  EXPECT_EQ(parse(dump_json(json)), json);
}

TEST(Json, WritesTheSameBytesEveryTime) {
  EXPECT_EQ(dump_json(parse(R"({"x":{"b":1.5,"a":[1,2]},"e":{}})")),
            "{\n  \"x\": {\n    \"b\": 1.5,\n    \"a\": [\n      1,\n      2\n    ]\n  },\n  "
            "\"e\": {}\n}\n");
}

TEST(Json, AgreesWithAnotherParserOnWhatIsJson) {
  const std::array texts{"0",
                         "-0",
                         "1.5e3",
                         "01",
                         "1.",
                         ".5",
                         "+1",
                         "1e",
                         "-",
                         "1e5",
                         "\"\"",
                         "\"\t\"",
                         "[1,]",
                         "{\"a\":1,}",
                         "{a:1}",
                         "[1 2]",
                         "nul",
                         "nulll",
                         "true",
                         "'a'",
                         "[]",
                         "{}",
                         " 1 ",
                         "1 1",
                         "\"\\x\"",
                         "\"\\u12\"",
                         "[",
                         "{",
                         "\"",
                         "{\"a\"}",
                         "NaN",
                         "Infinity",
                         "/**/1",
                         "\xef\xbb\xbf"
                         "1",
                         "\"\xc0\xaf\"",
                         "\"\xed\xa0\x80\"",
                         "\"\xf4\x90\x80\x80\"",
                         "\"\xf0\x9f\x98\x80\""};
  for (const std::string text : texts) {
    bool ours = true;
    try {
      parse(text);
    } catch (const Error&) {
      ours = false;
    }
    // The peer skips a byte order mark; a stranger's file has no business starting with one.
    const bool peer = !text.starts_with("\xef\xbb\xbf") && Json::accept(text);
    EXPECT_EQ(ours, peer) << text;
  }
}

TEST(Json, NamesLineAndColumn) {
  expect_refusal([] { parse("{\n  \"a\": 1,\n  \"a\": 2\n}"); }, ExitCode::refused_input,
                 "f.json:3:3: key 'a' appears twice");
  expect_refusal([] { parse("{\n \"a\": tru}"); }, ExitCode::refused_input,
                 "f.json:2:7: came 'tru}'");
  expect_refusal([] { parse("[1] x"); }, ExitCode::refused_input, "f.json:1:5: came 'x'");
}

TEST(Json, RefusesWhatIsTooDeepOrTooLarge) {
  const std::string deep(64, '[');
  EXPECT_NO_THROW(parse(deep + std::string(64, ']')));
  expect_refusal([&] { parse("[" + deep + std::string(65, ']')); }, ExitCode::refused_input,
                 "depth 65");
  expect_refusal([&] { parse(std::string(1'000'000, '[')); }, ExitCode::refused_input, "depth");
  expect_refusal([] { parse_json("[1,2]", "f", {.max_bytes = 4}); }, ExitCode::refused_input,
                 "4 B");
}

TEST(Json, ManyKeysTakeLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":0";
  EXPECT_EQ(parse(text + "}").size(), 200'000u);  // minutes if it were quadratic
}

TEST(JsonReader, SkipsAValueAndChecksItAllTheSame) {
  JsonReader reader(R"({"a": [1, {"b": "\u00e9"}], "c": 5})", "f");
  std::string_view key;
  reader.begin_object();
  ASSERT_TRUE(reader.next_key(key));
  reader.skip();
  ASSERT_TRUE(reader.next_key(key));
  EXPECT_EQ(key, "c");
  EXPECT_EQ(reader.natural("c"), 5u);
  EXPECT_FALSE(reader.next_key(key));
  reader.finish();
}

TEST(JsonReader, AStrangersTextCannotSteerTheTerminal) {
  expect_refusal([] { parse("{\"\\u001b[2J\":1,\"\\u001b[2J\":1}"); }, ExitCode::refused_input,
                 "key '?[2J' appears twice");
}

TEST(JsonFields, NamesFieldValueAndWhatIsAllowed) {
  const Json json = parse(
      R"({"hidden_size": "abc", "layers": 0, "eps": 1, "rope": {"factor": true}, "none": null})");
  const JsonFields fields(json, "m/config.json");
  expect_refusal([&] { fields.positive("hidden_size"); }, ExitCode::refused_input,
                 R"(m/config.json: key 'hidden_size': came "abc", allowed is a positive integer)");
  expect_refusal([&] { fields.positive("layers"); }, ExitCode::refused_input,
                 "key 'layers': came 0, allowed is a positive integer");
  expect_refusal([&] { fields.positive("heads"); }, ExitCode::refused_input,
                 "m/config.json: key 'heads' is missing");
  expect_refusal([&] { fields.object("rope").number("factor"); }, ExitCode::refused_input,
                 "key 'rope.factor': came true, allowed is a number");
  expect_refusal([&] { fields.integer("eps", 2, 8); }, ExitCode::refused_input,
                 "allowed is an integer from 2 to 8");
  EXPECT_EQ(fields.number("eps"), 1.0);
  EXPECT_FALSE(fields.has("none"));
  EXPECT_EQ(fields.integer_or("none", 3), 3);
}

}  // namespace
}  // namespace isogrid
