#include "data/tokenizer/sentencepiece.h"

#include <gtest/gtest.h>

#include "core/json.h"
#include "data/tokenizer/sentencepiece_proto.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

using Ids = std::vector<int32_t>;

std::string field(int number, int wire) { return {static_cast<char>(number << 3 | wire)}; }
std::string length_of(const std::string& text) {
  std::string bytes;
  for (size_t left = text.size();; left >>= 7) {
    bytes.push_back(static_cast<char>(left > 127 ? (left & 127) | 128 : left));
    if (left <= 127) return bytes;
  }
}
std::string text_field(int number, const std::string& text) {
  return field(number, 2) + length_of(text) + text;
}
std::string piece(const std::string& text, char type = 1) {
  return text_field(1,
                    text_field(1, text) + field(2, 5) + std::string(4, '\0') + field(3, 0) + type);
}

const std::string kBpeModel = text_field(2, field(3, 0) + '\2');
// add_dummy_prefix, not remove_extra_whitespaces
const std::string kIdentity = text_field(3, text_field(1, "identity") + field(4, 0) + '\0');

std::string llama_model() {
  return piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) + piece("<0xC3>", 6) +
         piece("<0xA9>", 6) + piece("\u2581", 1) + piece("a") + piece("b") + piece("\u2581a") +
         piece("ab") + piece("[usr]", 4) + kBpeModel + kIdentity;
}

void write_model(const TemporaryDirectory& folder, const std::string& model,
                 const std::string& config = "") {
  folder.write("tokenizer.model", model);
  if (!config.empty()) folder.write("tokenizer_config.json", config);
}

TEST(SentencePiece, JoinsThePieceThatIsEarlierInTheFile) {
  const TemporaryDirectory folder;
  write_model(folder, llama_model());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.encode("ab"), (Ids{8, 7}));  // "▁a" comes before "ab"
  EXPECT_EQ(tokenizer.encode("bab"), (Ids{5, 7, 9}));
  EXPECT_EQ(tokenizer.encode("\u00E9z"), (Ids{5, 3, 4}));  // bytes; what has none vanishes
  EXPECT_EQ(tokenizer.encode("[usr]a</s>"), (Ids{10, 6, 2}));
  EXPECT_EQ(tokenizer.encode_with_specials("a"), (Ids{1, 8}));
  EXPECT_EQ(tokenizer.decode(Ids{1, 8, 7, 3, 4, 5}), "<s> ab\u00E9 ");
  EXPECT_EQ(tokenizer.decode(Ids{8, 7}), "ab");
}

TEST(SentencePiece, FollowsTheConfigBesideIt) {
  const TemporaryDirectory folder;
  write_model(folder, llama_model(), R"({"legacy": true, "add_bos_token": false,
      "add_eos_token": true, "pad_token": "<pad>", "added_tokens_decoder":
      {"11": {"content": "<new>", "normalized": false, "special": false}}})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.encode("a[usr]a"), (Ids{8, 10, 8}));  // legacy: every part gets its space
  EXPECT_EQ(tokenizer.encode_with_specials("<new>"), (Ids{11, 2}));
  EXPECT_EQ(tokenizer.id_of("<pad>"), 12);
  EXPECT_TRUE(tokenizer.is_special(12));
}

TEST(SentencePiece, ReadsAddedTokensOfOldFolders) {
  const TemporaryDirectory folder;
  write_model(folder, llama_model());
  folder.write("added_tokens.json", R"({"<pad>": 11})");
  EXPECT_EQ(Tokenizer::load(folder.path()).encode("<pad>"), (Ids{11}));
}

void expect_model_refused(const std::string& model, const std::string& part,
                          const std::string& config = "") {
  const TemporaryDirectory folder;
  write_model(folder, model, config);
  expect_refusal([&] { Tokenizer::load(folder.path()); }, ExitCode::refused_input, part);
}

TEST(SentencePiece, RefusesWhatItWouldReadOtherwise) {
  const std::string pieces = piece("<unk>", 2) + piece("a");
  expect_model_refused(pieces + kIdentity, "model_type");
  expect_model_refused(pieces + kBpeModel, "remove_extra_whitespaces");
  expect_model_refused(pieces + kBpeModel + kIdentity + text_field(3, text_field(2, "map")), "map");
  expect_model_refused(llama_model(), "add_prefix_space", R"({"add_prefix_space": false})");
  expect_model_refused(llama_model(), "should have the id 99",
                       R"({"added_tokens_decoder": {"99": {"content": "x"}}})");
  expect_model_refused(llama_model(), "not an id",
                       R"({"added_tokens_decoder": {"-1": {"content": "x"}}})");
}

TEST(SentencePiece, RefusesBrokenBytes) {
  expect_model_refused("", "no pieces");
  expect_model_refused("GGUF and other text", "");
  expect_model_refused(field(1, 2) +
                           "\x7F"
                           "abc",
                       "only 3 are left");
  expect_model_refused(field(1, 2) + std::string(10, '\xFF') + "\x01", "");
  expect_model_refused(field(1, 3), "wire type");
  expect_model_refused(field(1, 0) + '\1', "should hold text");
  expect_model_refused(piece("") + kBpeModel, "piece 0");
  expect_model_refused(piece("\xFF") + kBpeModel, "piece 0");
  expect_model_refused(piece("a", 9) + kBpeModel, "type 9");
  expect_model_refused(piece(std::string(5000, 'a')) + kBpeModel, "4096");
  expect_model_refused(piece("a") + piece("a") + kBpeModel + kIdentity, "twice");
  const std::string whole = llama_model();
  for (size_t length = 0; length + 1 < whole.size(); ++length) {
    try {
      read_sentencepiece(whole.substr(0, length), "tokenizer.model", Json(), Json());
      ADD_FAILURE() << "a model cut to " << length << " bytes was not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::refused_input);
    }
  }
}

}  // namespace
}  // namespace isogrid
