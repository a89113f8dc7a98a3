#include "configs/yaml.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <chrono>
#include <string>

#include "core/error.h"

namespace isogrid {
namespace {

/// "" when the text is accepted, else the message.
std::string refusal(const std::string& text) {
  try {
    parse_yaml(text, "f");
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::configuration);
    return error.what();
  }
}

std::string repeated(const std::string& part, size_t times) {
  std::string text;
  for (size_t i = 0; i < times; ++i) text += part;
  return text;
}

TEST(Yaml, KeepsTextKindAndPlace) {
  const YamlNode root = parse_yaml("# c\na: 1\nb: 'x'\nc: [d, {e: ~}]\nf:\n", "f");
  ASSERT_EQ(root.kind, YamlNode::Kind::map);
  ASSERT_EQ(root.keys.size(), 4u);
  EXPECT_EQ(root.keys[0].text, "a");
  EXPECT_EQ(root.items[0].text, "1");
  EXPECT_FALSE(root.items[0].is_quoted);
  EXPECT_TRUE(root.items[1].is_quoted);
  EXPECT_EQ(root.items[1].line, 3);
  EXPECT_EQ(root.items[1].column, 4);
  const YamlNode& list = root.items[2];
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(list.items[1].items[0].kind, YamlNode::Kind::null);
  EXPECT_EQ(root.items[3].kind, YamlNode::Kind::null);
}

TEST(Yaml, OfNothingIsNull) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n", "\xEF\xBB\xBF"})
    EXPECT_EQ(parse_yaml(text, "f").kind, YamlNode::Kind::null) << text;
  EXPECT_EQ(parse_yaml("\xEF\xBB\xBF"
                       "a: 1",
                       "f")
                .keys.size(),
            1u);
}

TEST(Yaml, RefusesWhatAConfigNeverNeeds) {
  const struct {
    const char* text;
    const char* said;
  } cases[] = {
      {"a: &x 1\n", "f:1:4: an anchor"},
      {"a: &x [*x]\n", "f:1:4: an anchor"},
      {"&a [*a]", "f:1:1: an anchor"},
      {"a: *x\n", "f:1:4"},
      {"a: !!int 1\n", "a tag"},
      {"a: !foo 1\n", "a tag"},
      {"a: ! 1\n", "a tag"},
      {"a: !!python/object/apply:os.system ['x']\n", "a tag"},
      {"!x\na: 1\n", "a tag"},
      {"a: 1\nb: 2\na: 3\n", "f:3:1: 'a' stands here a second time"},
      {"x: {a: 1, a: 1}\n", "a second time"},
      {"<<: {a: 1}\n", "a merge key"},
      {"a: 1\n---\nb: 2\n", "a second document"},
      {"a: 1\n...\n---\nb: 2\n", "a second document"},
      {"? [a, b]\n: 1\n", "a key must be a plain word"},
      {"? {a: b}\n: 1\n", "a key must be a plain word"},
      {": 1\n", "a value without a key"},
      {"a: [1, 2\n", "not YAML"},
      {"a: 'x\n", "f:1:4: not YAML: a quote is not closed"},
      {"a: 'it''s\n", "a quote is not closed"},
      {"a: \"x\\\"\n", "a quote is not closed"},
      {"a: b: c\n", "not YAML"},
      {"\ta: 1\n", "not YAML"},
      {"a: \xFF\n", "f:1:4: byte 255"},
      {"a: 1\nb: \x01\n", "f:2:4: byte 1"},
      {"%YAML 3.0\n---\na: 1\n", "not YAML"},
  };
  for (const auto& each : cases)
    EXPECT_NE(refusal(each.text).find(each.said), std::string::npos) << each.text << "\n"
                                                                     << refusal(each.text);
}

TEST(Yaml, HasLimits) {
  EXPECT_EQ(refusal("a: " + repeated("[", 63) + repeated("]", 63)), "");
  EXPECT_NE(refusal("a: " + repeated("[", 64) + repeated("]", 64)).find("more than 64 deep"),
            std::string::npos);
  EXPECT_EQ(refusal("a: [" + repeated("1,", 19990) + "]"), "");
  EXPECT_NE(refusal("a: [" + repeated("1,", 20001) + "]").find("more than 20000"),
            std::string::npos);
  EXPECT_EQ(refusal("a: '" + std::string(yaml_byte_limit - 5, 'x') + "'"), "");
  EXPECT_NE(refusal("a: '" + std::string(yaml_byte_limit, 'x') + "'").find("at most 1048576"),
            std::string::npos);
}

double seconds_for(const std::string& text) {
  const auto start = std::chrono::steady_clock::now();
  refusal(text);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Yaml, RefusesACycleAndABombInTenMilliseconds) {
  EXPECT_LT(seconds_for("&a [*a]"), 0.010);
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'z'; ++c)
    bomb += std::string(1, c) + ": &" + c + " [" +
            repeated(std::string("*") + static_cast<char>(c - 1) + ",", 9) + "]\n";
  EXPECT_LT(seconds_for(bomb), 0.010);
  EXPECT_NE(refusal(bomb), "");
}

TEST(Yaml, TakesAMomentForAnyRepetition) {
  for (const char* part :
       {"[",  "{",  "- ",   "? ",    "a: ",  "a\n", " ",      "\n",  "#",    "'",
        "\"", "!",  "&a ",  "*a ",   "|",    ">\n", "a: 1\n", "[a,", "{a: ", "- - ",
        "x ", "\\", "%a\n", "---\n", "? - ", "[[]", "{a",     ",",   "`",    "@"}) {
    const std::string text = repeated(part, (size_t{1} << 17) / std::string(part).size());
    EXPECT_LT(seconds_for(text), 1.0) << part;
    EXPECT_LT(seconds_for("a: " + text.substr(0, text.size() - 8)), 1.0) << part;
  }
}

void* parse_deep(void*) {
  for (const char* part : {"[", "{a: ", "- ", "? ", "{? ", "[{a: "})
    refusal(repeated(part, 100000));
  return nullptr;
}

TEST(Yaml, WorksWithAStackOf256KiB) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 * 1024), 0);
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, parse_deep, nullptr), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

}  // namespace
}  // namespace isogrid
