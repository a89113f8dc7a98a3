#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "tests/data/tokenizer_json.h"

namespace isogrid {
namespace {

struct HostileFile {
  const char* what;
  TokenizerJson json;
  std::string mentions;  // the refusal names the field or says what is wrong
};

template <typename Change>
HostileFile changed(const char* what, std::string mentions, Change change) {
  HostileFile file{what, {}, std::move(mentions)};
  change(file.json);
  return file;
}

const std::string kSplit =
    R"({"type": "Split", "behavior": "Isolated", "invert": false, "pattern": )";

std::vector<HostileFile> hostile_files() {
  using Json = TokenizerJson;
  const std::string deep(2000, '[');
  const std::string long_token(5000, 'a');
  return {
      changed("vocab is an array", "model.vocab", [](Json& j) { j.vocab = "[]"; }),
      changed("id is negative", "model.vocab", [](Json& j) { j.vocab = R"({"a": -1})"; }),
      changed("id is a float", "model.vocab", [](Json& j) { j.vocab = R"({"a": 0.5})"; }),
      changed("id is a string", "model.vocab", [](Json& j) { j.vocab = R"({"a": "0"})"; }),
      changed("id of 64 bits", "model.vocab",
              [](Json& j) { j.vocab = R"({"a": 18446744073709551615})"; }),
      changed("id asks for gigabytes", "model.vocab",
              [](Json& j) { j.vocab = R"({"a": 3999999})"; }),
      changed("ids with a gap", "model.vocab", [](Json& j) { j.vocab = R"({"a": 0, "b": 9})"; }),
      changed("token twice", "twice", [](Json& j) { j.vocab = R"({"a": 0, "a": 1})"; }),
      changed("id twice", "twice", [](Json& j) { j.vocab = R"({"a": 0, "b": 0})"; }),
      changed("long token", "4096", [&](Json& j) { j.vocab = R"({")" + long_token + R"(": 0})"; }),
      changed("merge of an unknown token", "model.merges[0]",
              [](Json& j) { j.merges = R"([["a", "zz"]])"; }),
      changed("merge into an unknown token", "model.merges[0]",
              [](Json& j) { j.merges = R"([["c", "a"]])"; }),
      changed("merge of one half", "model.merges[0]", [](Json& j) { j.merges = R"([["a"]])"; }),
      changed("merge of three", "model.merges[0]",
              [](Json& j) { j.merges = R"([["a", "b", "c"]])"; }),
      changed("merge without a space", "model.merges[0]", [](Json& j) { j.merges = R"(["ab"])"; }),
      changed("merge with two spaces", "model.merges[0]",
              [](Json& j) { j.merges = R"(["a  b"])"; }),
      changed("merge is a number", "1:", [](Json& j) { j.merges = "[7]"; }),
      changed("merges is an object", "model.merges", [](Json& j) { j.merges = "{}"; }),
      changed("other model", "model.type",
              [](Json& j) { j.options = R"("type": "Unigram", "unk_id": 0)"; }),
      changed("type twice", "model.type is there twice",
              [](Json& j) { j.options = R"("type": "BPE", "type": "BPE")"; }),
      changed("dropout", "model.dropout",
              [](Json& j) { j.options = R"("type": "BPE", "dropout": 0.1)"; }),
      changed("suffix", "end_of_word_suffix",
              [](Json& j) { j.options = R"("type": "BPE", "end_of_word_suffix": "</w>")"; }),
      changed("flag is a string", "model.fuse_unk",
              [](Json& j) { j.options = R"("type": "BPE", "fuse_unk": "no")"; }),
      changed("regex that explodes", "(a+)+$",
              [](Json& j) { j.pre_tokenizer = kSplit + R"({"Regex": "(a+)+$"}})"; }),
      changed("broken regex", "pattern",
              [](Json& j) { j.pre_tokenizer = kSplit + R"({"Regex": "[^\\"}})"; }),
      changed("empty pattern", "pattern",
              [](Json& j) { j.pre_tokenizer = kSplit + R"({"String": ""}})"; }),
      changed("many alternatives", "pattern",
              [](Json& j) {
                j.pre_tokenizer = kSplit + R"({"Regex": "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r"}})";
              }),
      changed("unknown pre-tokeniser", "pre_tokenizer.type",
              [](Json& j) { j.pre_tokenizer = R"({"type": "BertPreTokenizer"})"; }),
      changed("pre-tokeniser behind bytes", "pre_tokenizer.pretokenizers[1].type",
              [](Json& j) {
                j.pre_tokenizer = R"({"type": "Sequence", "pretokenizers": [
                    {"type": "ByteLevel"}, {"type": "Digits", "individual_digits": true}]})";
              }),
      changed("sequence in sequence in ...", "deep",
              [](Json& j) {
                std::string open, close;
                for (int i = 0; i < 9; ++i) {
                  open += R"({"type": "Sequence", "pretokenizers": [)";
                  close += "]}";
                }
                j.pre_tokenizer = open + R"({"type": "ByteLevel"})" + close;
              }),
      changed("unknown normaliser", "normalizer.type",
              [](Json& j) { j.normalizer = R"({"type": "Precompiled"})"; }),
      changed("normaliser with a regex", "normalizer.pattern",
              [](Json& j) {
                j.normalizer =
                    R"({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})";
              }),
      changed("endless replacement", "pattern",
              [](Json& j) {
                j.normalizer = R"({"type": "Replace", "pattern": {"String": ""}, "content": "x"})";
              }),
      changed("unknown decoder", "decoder.type",
              [](Json& j) { j.decoder = R"({"type": "WordPiece"})"; }),
      changed("strip at the end", "decoder.decoders[1].type",
              [](Json& j) {
                j.decoder = R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 0, "stop": 1}]})";
              }),
      changed("template without the text", "post_processor.single",
              [](Json& j) {
                j.post_processor =
                    R"({"type": "TemplateProcessing", "single": [], "special_tokens": {}})";
              }),
      changed("template with an unknown token", "special_tokens",
              [](Json& j) {
                j.post_processor = R"({"type": "TemplateProcessing", "special_tokens": {},
                    "single": [{"SpecialToken": {"id": "x", "type_id": 0}}]})";
              }),
      changed("added tokens as an object", "added_tokens", [](Json& j) { j.added = "{}"; }),
      changed("added token without a name", "added_tokens[0].content",
              [](Json& j) { j.added = R"([{"id": 8}])"; }),
      changed("added id far away", "added_tokens[0].id",
              [](Json& j) { j.added = R"([{"id": 4000000000, "content": "x"}])"; }),
      changed("added id that is taken", "added_tokens[0].content",
              [](Json& j) {
                j.vocab = R"({"a": 0, "b": 2})";
                j.merges = "[]";
                j.added = R"([{"id": 1, "content": "x"}])";
              }),
      changed("nested without end", "depth", [&](Json& j) { j.added = deep; }),
      changed("half a surrogate pair", "surrogate", [](Json& j) { j.vocab = R"({"\ud800": 0})"; }),
      changed("bytes that are not UTF-8", "UTF-8", [](Json& j) { j.vocab = "{\"\xC0\x80\": 0}"; }),
      changed("trailing comma",
              "tokenizer.json:1:", [](Json& j) { j.merges = R"([["a", "b"],])"; }),
  };
}

TEST(HostileTokenizer, EveryCraftedFileIsRefusedByName) {
  for (const HostileFile& file : hostile_files()) {
    const std::string message = refusal_of_tokenizer(file.json.text());
    EXPECT_NE(message.find(file.mentions), std::string::npos) << file.what << ": " << message;
    EXPECT_TRUE(message.starts_with("tokenizer.json:")) << message;
  }
}

// 16 steps of a -> 64 times a would make 2^96 bytes of one letter.
TEST(HostileTokenizer, AChainOfReplacementsCannotFillTheMemory) {
  const std::string step = R"({"type": "Replace", "pattern": {"String": "a"}, "content": ")" +
                           std::string(64, 'a') + "\"}";
  std::string steps = step;
  for (int i = 1; i < 16; ++i) steps += ", " + step;
  TokenizerJson normal;
  normal.normalizer = R"({"type": "Sequence", "normalizers": [)" + steps + "]}";
  const Tokenizer encoding = normal.load();
  expect_refusal([&] { encoding.encode("a"); }, ExitCode::refused_input, "replacements");
  TokenizerJson output;
  output.decoder = R"({"type": "Sequence", "decoders": [)" + steps + "]}";
  const Tokenizer decoding = output.load();
  expect_refusal([&] { decoding.decode(Ids{0}); }, ExitCode::refused_input, "replacements");
}

TEST(HostileTokenizer, EveryPrefixOfAFileIsRefused) {
  const std::string whole = TokenizerJson().text();
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_NE(refusal_of_tokenizer(whole.substr(0, length)), "") << length;
}

TEST(HostileTokenizer, NothingMayFollowTheDocument) {
  refusal_of_tokenizer(TokenizerJson().text() + "{}");
  refusal_of_tokenizer(TokenizerJson().text() + std::string(1, '\0'));
}

TEST(HostileTokenizer, AFifoIsRefusedAndDoesNotBlock) {
  const TemporaryDirectory folder;
  ASSERT_EQ(::mkfifo((folder / "tokenizer.json").c_str(), 0600), 0);
  expect_refusal([&] { Tokenizer::load(folder.path()); }, ExitCode::refused_input, "regular file");
}

}  // namespace
}  // namespace isogrid
