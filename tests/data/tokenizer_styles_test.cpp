#include <gtest/gtest.h>

#include "data/tokenizer/normal_form.h"
#include "data/tokenizer/pre_tokenizer.h"
#include "data/tokenizer/split_pattern.h"
#include "data/tokenizer/stream_decoder.h"
#include "tests/data/tokenizer_json.h"

namespace isogrid {
namespace {

std::vector<std::string> pieces_of(const std::string& regex, const std::string& text) {
  std::string unknown;
  PreStep step;
  step.pattern = SplitPattern::from_regex(regex, unknown);
  EXPECT_EQ(unknown, "");
  std::vector<std::string> pieces;
  split_pieces(step, {text, true}, [&](Piece piece) { pieces.emplace_back(piece.text); });
  return pieces;
}

using Pieces = std::vector<std::string>;

const std::string kRest = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kWords = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
const std::string kQwen = kWords + R"(\p{N})" + kRest;
const std::string kLlama3 = kWords + R"(\p{N}{1,3})" + kRest;

TEST(SplitPattern, CutsWordsContractionsAndSingleDigitsForQwen) {
  EXPECT_EQ(pieces_of(kQwen, "It's 2024!"), (Pieces{"It", "'s", " ", "2", "0", "2", "4", "!"}));
  EXPECT_EQ(pieces_of(kQwen, "WE'LL $go"), (Pieces{"WE", "'LL", " $", "go"}));
  EXPECT_EQ(pieces_of(kQwen, "x'\u017Fy"), (Pieces{"x", "'\u017F", "y"}));
}

TEST(SplitPattern, CutsNumbersInThreesForLlama) {
  EXPECT_EQ(pieces_of(kLlama3, "1234567 a"), (Pieces{"123", "456", "7", " a"}));
}

TEST(SplitPattern, LeavesOneSpaceToTheNextWord) {
  EXPECT_EQ(pieces_of(kQwen, "a   b"), (Pieces{"a", "  ", " b"}));
  EXPECT_EQ(pieces_of(kQwen, "a   "), (Pieces{"a", "   "}));
  EXPECT_EQ(pieces_of(kQwen, "a \n\n b"), (Pieces{"a", " \n\n", " b"}));
  EXPECT_EQ(pieces_of(kQwen, "a;\n\nb"), (Pieces{"a", ";\n\n", "b"}));
  EXPECT_EQ(pieces_of(kQwen, "a\u3000\u00A0b"), (Pieces{"a", "\u3000", "\u00A0b"}));
}

TEST(SplitPattern, GivesBackCapitalsThatMayBeSmall) {
  const std::string letters = R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])";
  const std::string small = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const std::string tekken = letters + "*" + small + "+|" + letters + "+" + small + "*|\\s+";
  EXPECT_EQ(pieces_of(tekken, "HelloWORLDwide"), (Pieces{"Hello", "WORLDwide"}));
  EXPECT_EQ(pieces_of(tekken, "AB CD"), (Pieces{"AB", " CD"}));
  EXPECT_EQ(pieces_of(tekken, "A\u02B0B"), (Pieces{"A\u02B0", "B"}));  // a letter of no case
}

TEST(SplitPattern, NamesThePartItDoesNotKnow) {
  std::string unknown;
  EXPECT_FALSE(SplitPattern::from_regex(R"(\p{L}+|(a+)+$|\s+)", unknown));
  EXPECT_EQ(unknown, "(a+)+$");
}

std::string nfc(const std::string& text) {
  std::string buffer;
  return std::string(normalise(NormalForm::nfc, text, buffer));
}

TEST(NormalForm, ComposesOrdersAndKeepsExclusions) {
  EXPECT_EQ(nfc("e\u0301a"), "\u00E9a");
  EXPECT_EQ(nfc("\u1100\u1161\u11A8"), "\uAC01");   // Hangul by arithmetic
  EXPECT_EQ(nfc("a\u0301\u0323"), "\u1EA1\u0301");  // the dot below comes first
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");         // excluded from composition
  EXPECT_EQ(nfc("\u212B"), "\u00C5");               // the sign for angstrom is a letter
  EXPECT_EQ(nfc("a\u0345\u0301"), "\u00E1\u0345");
}

// U+1DF9 came with Unicode 10: by Unicode 9.0 it is no mark, so it stays where it is.
TEST(NormalForm, LeavesAloneWhatIsNewerThanUnicodeNine) {
  EXPECT_EQ(nfc("a\u0301\u1DF9"), "\u00E1\u1DF9");
  EXPECT_EQ(nfc("a\u1DF9\u0301"), "a\u1DF9\u0301");
}

TEST(NormalForm, IsTheTextItselfWhenNothingChanges) {
  const std::string text = "plain \u00E9 \uAC01 text";
  std::string buffer;
  EXPECT_EQ(normalise(NormalForm::nfc, text, buffer).data(), text.data());
}

TEST(NormalForm, DecomposesForNfd) {
  std::string buffer;
  EXPECT_EQ(normalise(NormalForm::nfd, "\u1EA1\u0301\uAC01", buffer),
            "a\u0323\u0301\u1100\u1161\u11A8");
}

TEST(Tokenizer, PutsASpaceInFrontWhereByteLevelAsksForIt) {
  TokenizerJson json;
  json.pre_tokenizer = R"({"type": "ByteLevel", "add_prefix_space": true})";
  EXPECT_EQ(json.load().encode("ac"), (Ids{7, 2}));
  EXPECT_EQ(json.load().encode(" ac"), (Ids{7, 2}));
}

TEST(Tokenizer, CutsEveryDigitForSmolLm) {
  TokenizerJson json;
  json.pre_tokenizer = R"({"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true},
      {"type": "ByteLevel", "add_prefix_space": false}]})";
  json.vocab = R"({"1": 0, "2": 1, "12": 2, "a": 3, "Ġ": 4})";
  json.merges = R"([["1", "2"]])";
  EXPECT_EQ(json.load().encode("12a 12"), (Ids{0, 1, 3, 4, 0, 1}));
}

TokenizerJson llama2() {
  TokenizerJson json;
  json.pre_tokenizer =
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})";
  json.decoder = R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
      {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";
  json.options = R"("type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true)";
  json.vocab = R"({"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "<0xC3>": 4, "<0xA9>": 5, "<0xE2>": 6})";
  json.merges = R"([["▁", "a"]])";
  return json;
}

TEST(Tokenizer, FallsBackToBytesAndFusesTheUnknown) {
  const Tokenizer tokenizer = llama2().load();
  EXPECT_EQ(tokenizer.encode("a a"), (Ids{3, 3}));
  EXPECT_EQ(tokenizer.encode("\u00E9a"), (Ids{1, 4, 5, 2}));
  EXPECT_EQ(tokenizer.encode("xyza"), (Ids{1, 0, 2}));
}

TEST(Tokenizer, DecodesRunsOfByteTokensAsAWhole) {
  const Tokenizer tokenizer = llama2().load();
  EXPECT_EQ(tokenizer.decode(Ids{3, 4, 5, 3}), "a\u00E9 a");
  EXPECT_EQ(tokenizer.decode(Ids{4, 5, 6, 2}), "\uFFFD\uFFFD\uFFFDa");
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(4), "");
  EXPECT_EQ(decoder.push(5), "");
  EXPECT_EQ(decoder.push(2), "\u00E9a");
  EXPECT_EQ(decoder.finish(), "");
}

}  // namespace
}  // namespace isogrid
