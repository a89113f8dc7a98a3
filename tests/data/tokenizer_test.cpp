#include "data/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "data/tokenizer/stream_decoder.h"
#include "tests/data/tokenizer_json.h"

namespace isogrid {
namespace {

const Tokenizer& tiny() {
  static const Tokenizer tokenizer = Tokenizer::load(ISOGRID_SOURCE_DIR "/data/tiny");
  return tokenizer;
}

// b+c has the lower rank, so "abc" is a, bc, then joined by the third merge.
TEST(Tokenizer, JoinsTheNeighboursOfLowestRankFirst) {
  EXPECT_EQ(TokenizerJson().load().encode("abc"), (Ids{5}));
  EXPECT_EQ(TokenizerJson().load().encode("bab"), (Ids{1, 3}));
  TokenizerJson without;
  without.merges = R"([["b", "c"], ["a", "b"]])";
  EXPECT_EQ(without.load().encode("abc"), (Ids{0, 4}));
}

TEST(Tokenizer, ReadsBothSpellingsOfMerges) {
  TokenizerJson json;
  json.merges = R"(["b c", "a b", "a bc", "Ġ a"])";
  EXPECT_EQ(json.load().encode("abc a"), TokenizerJson().load().encode("abc a"));
}

TEST(Tokenizer, TakesAPieceThatIsATokenWhenMergesAreIgnored) {
  TokenizerJson json;
  json.merges = "[]";
  EXPECT_EQ(json.load().encode("abc"), (Ids{0, 1, 2}));
  json.options += R"(, "ignore_merges": true)";
  EXPECT_EQ(json.load().encode("abc"), (Ids{5}));
}

// Pieces of 49 characters and more go through the heap; the scan must give the same.
TEST(Tokenizer, MergesLongPiecesLikeShortOnes) {
  const Tokenizer tokenizer = TokenizerJson().load();
  std::string text;
  Ids expected;
  for (int i = 0; i < 40; ++i) {
    text += "abcab";
    expected.insert(expected.end(), {5, 3});
  }
  EXPECT_EQ(tokenizer.encode(text), expected);
  EXPECT_EQ(tokenizer.encode(text.substr(0, 45)), Ids(expected.begin(), expected.begin() + 18));
}

TEST(Tokenizer, GivesTheIdsOfHuggingFaceForTheTinyVocabulary) {
  EXPECT_EQ(tiny().encode("<|im_start|>user\nWho are you?<|im_end|>\n"),
            (Ids{1, 301, 207, 547, 389, 316, 39, 2, 207}));
  EXPECT_EQ(tiny().encode("I am Zen Nano, a small assistant. 12+3=15"),
            (Ids{49, 394, 1337, 1338, 20, 265, 478, 1043, 22, 229, 25, 26, 19, 27, 37, 25, 29}));
  EXPECT_EQ(tiny().encode("He\u0301llo  wo\u0301rld\r\n\r\n  \u017f it'\u017f IT'S"),
            (Ids{48,  136, 111, 1885, 229, 269, 136, 120, 90,  348, 210, 207, 210,
                 207, 229, 229, 138,  132, 322, 15,  138, 132, 306, 60,  15,  59}));
  EXPECT_EQ(tiny().encode("\U0001F600 \uD55C\uAD6D\uC5B4"),
            (Ids{181, 262, 255, 231, 229, 178, 252, 259, 175, 122, 264, 177, 253, 121}));
  EXPECT_EQ(tiny().encode("<think>\n</think><tool_call"),
            (Ids{3, 207, 4, 36, 92, 902, 71, 75, 73, 290}));
  EXPECT_EQ(tiny().encode("   \n  \t x"), (Ids{944, 207, 451, 206, 229, 96}));
}

TEST(Tokenizer, KnowsItsTokensByNameAndId) {
  EXPECT_EQ(tiny().size(), 2048);
  EXPECT_EQ(tiny().id_of("<|im_end|>"), 2);
  EXPECT_EQ(tiny().id_of("no such token"), std::nullopt);
  EXPECT_EQ(tiny().token_of(2), "<|im_end|>");
  EXPECT_EQ(tiny().token_of(207), "\u010A");  // a line end in the printable alphabet
  EXPECT_EQ(tiny().token_of(2048), "");
  EXPECT_EQ(tiny().token_of(-1), "");
  EXPECT_TRUE(tiny().is_special(2));
  EXPECT_TRUE(tiny().is_added(3));  // <think>
  EXPECT_FALSE(tiny().is_special(3));
  EXPECT_FALSE(tiny().is_added(207));
}

TEST(Tokenizer, EncodesInvalidUtf8AsReplacementCharacters) {
  EXPECT_EQ(tiny().encode("a\xFF\xE2\x82z"), tiny().encode("a\uFFFD\uFFFDz"));
}

TEST(Tokenizer, EncodesAnEmptyTextToNothing) { EXPECT_EQ(tiny().encode(""), Ids{}); }

TEST(Tokenizer, DecodesWhatItEncoded) {
  const std::string text = "<|im_start|>It's 42 \u00e9\U0001F600\n\t<|im_end|>";
  EXPECT_EQ(tiny().decode(tiny().encode(text)), text);
  EXPECT_EQ(tiny().decode(tiny().encode(text), /*skip_special=*/true),
            "It's 42 \u00e9\U0001F600\n\t");
}

// 0xF0 0x9F is the start of an emoji: one replacement for the broken part, not one a byte.
TEST(Tokenizer, DecodesBrokenBytesAsMaximalParts) {
  const Ids emoji = tiny().encode("\U0001F600");
  ASSERT_EQ(emoji.size(), 4u);
  EXPECT_EQ(tiny().decode(Ids{emoji[0], emoji[1], 207}), "\uFFFD\n");
  EXPECT_EQ(tiny().decode(Ids{emoji[3], emoji[3]}), "\uFFFD\uFFFD");
  EXPECT_EQ(tiny().decode(Ids{5000, -7}), "");
}

TEST(StreamDecoder, NeverEmitsHalfACharacter) {
  const Ids ids = tiny().encode("a\U0001F600\u00e9 b");
  StreamDecoder decoder(tiny());
  std::string whole;
  for (const int32_t id : ids) {
    const std::string part = decoder.push(id);
    EXPECT_EQ(part.find("\uFFFD"), std::string::npos);
    whole += part;
  }
  EXPECT_EQ(whole + decoder.finish(), "a\U0001F600\u00e9 b");
}

TEST(StreamDecoder, GivesTheSameTextAsDecodingAtOnce) {
  StreamDecoder decoder(tiny());
  uint32_t state = 7;
  for (int round = 0; round < 200; ++round) {
    Ids ids;
    for (int i = 0; i < 20; ++i)
      ids.push_back(static_cast<int32_t>((state = state * 1664525 + 1013904223) >> 24));
    std::string parts;
    for (const int32_t id : ids) parts += decoder.push(id);
    EXPECT_EQ(parts + decoder.finish(), tiny().decode(ids));
  }
}

TEST(Tokenizer, FramesIdsAsThePostProcessorSays) {
  TokenizerJson json;
  json.post_processor =
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a", "type_id": 0}},
          {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "b", "type_id": 0}}],
          "special_tokens": {"a": {"id": "a", "ids": [0], "tokens": ["a"]},
                             "b": {"id": "b", "ids": [1, 1], "tokens": ["b", "b"]}}})";
  EXPECT_EQ(json.load().encode_with_specials("c"), (Ids{0, 2, 1, 1}));
  EXPECT_EQ(json.load().encode("c"), (Ids{2}));
}

TEST(Tokenizer, EncodesFromSeveralThreadsAtOnce) {
  const std::string text = "User: Who are you?\nAssistant: I am Zen Nano, 12 years old.";
  const Ids expected = tiny().encode(text);
  std::vector<int> wrong(4);
  {
    std::vector<std::jthread> threads;
    for (int& count : wrong)
      threads.emplace_back([&] {
        for (int i = 0; i < 300; ++i) count += tiny().encode(text) != expected;
      });
  }
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(Tokenizer, SharesOneScratchBetweenTokenizers) {
  EncodeScratch scratch;
  Ids ids;
  tiny().encode("abc", scratch, ids);
  const size_t first = ids.size();
  TokenizerJson().load().encode("abc", scratch, ids);
  EXPECT_EQ(Ids(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end()), (Ids{5}));
}

TEST(Tokenizer, SaysWhichFilesAreMissing) {
  const auto folder = std::filesystem::temp_directory_path() / "isogrid-no-tokenizer-here";
  try {
    Tokenizer::load(folder);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::missing_input);
    EXPECT_NE(std::string(error.what()).find("tokenizer.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace isogrid
