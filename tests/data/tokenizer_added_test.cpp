#include <gtest/gtest.h>

#include "tests/data/tokenizer_json.h"

namespace isogrid {
namespace {

// The vocabulary has 8 tokens, so the first added token is 8.
TokenizerJson with_added(const std::string& flags, const std::string& content = "<x>") {
  TokenizerJson json;
  json.added = R"([{"id": 8, "content": ")" + content +
               R"(", "special": false, "normalized": false)" + flags + "}]";
  return json;
}

TEST(AddedTokens, AreFoundAnywhereInTheText) {
  EXPECT_EQ(with_added("").load().encode("a<x>b<x"), (Ids{0, 8, 1}));  // '<' has no token here
  EXPECT_EQ(with_added("").load().encode("<x><x>"), (Ids{8, 8}));
}

TEST(AddedTokens, OfSingleWordsStandBetweenOtherCharacters) {
  const Tokenizer tokenizer = with_added(R"(, "single_word": true)", "ca").load();
  EXPECT_EQ(tokenizer.encode("ca a"), (Ids{8, 7}));
  EXPECT_EQ(tokenizer.encode("cab"), (Ids{2, 3}));
  EXPECT_EQ(tokenizer.encode("aca"), (Ids{0, 2, 0}));
  EXPECT_EQ(tokenizer.encode("\u00e9ca"), (Ids{2, 0}));  // a letter, though not one of ASCII
}

TEST(AddedTokens, TakeTheWhiteSpaceTheyStrip) {
  EXPECT_EQ(with_added(R"(, "lstrip": true)").load().encode("a \u3000 <x> b"), (Ids{0, 8, 6, 1}));
  EXPECT_EQ(with_added(R"(, "rstrip": true)").load().encode("a <x> \n b"), (Ids{0, 6, 8, 1}));
}

TEST(AddedTokens, PreferTheLongestThatStartsFirst) {
  TokenizerJson json;
  json.added = R"([{"id": 8, "content": "ca", "normalized": false},
                   {"id": 9, "content": "cab", "normalized": false},
                   {"id": 10, "content": "aba", "normalized": false}])";
  EXPECT_EQ(json.load().encode("cabac"), (Ids{9, 0, 2}));
  EXPECT_EQ(json.load().encode("caac"), (Ids{8, 0, 2}));
}

TEST(AddedTokens, AreSoughtInTheNormalisedTextWhenNormalised) {
  TokenizerJson json;
  json.normalizer = R"({"type": "NFC"})";
  json.added = R"([{"id": 8, "content": "e\u0301", "normalized": true},
                   {"id": 9, "content": "o\u0301", "normalized": false}])";
  EXPECT_EQ(json.load().encode("\u00e9 e\u0301"), (Ids{8, 6, 8}));
  EXPECT_EQ(json.load().encode("o\u0301 \u00f3"), (Ids{9, 6}));
  // As in Hugging Face: the normalised spelling is read in the byte alphabet, where it is byte E9.
  EXPECT_EQ(json.load().decode(Ids{8}), "\uFFFD");
}

TEST(AddedTokens, ThatTheModelKnowsKeepItsId) {
  TokenizerJson json;
  json.added = R"([{"id": 3, "content": "ab", "normalized": false, "special": true}])";
  const Tokenizer tokenizer = json.load();
  EXPECT_EQ(tokenizer.encode("abc"), (Ids{3, 2}));
  EXPECT_TRUE(tokenizer.is_special(3));
  EXPECT_EQ(tokenizer.size(), 8);
}

}  // namespace
}  // namespace isogrid
