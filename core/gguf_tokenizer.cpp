#include "core/gguf_tokenizer.h"

#include <vector>

#include "core/error.h"
#include "core/gguf_pieces.h"
#include "core/gguf_splitter.h"
#include "core/utf8.h"

namespace isogrid {
namespace {

/// Numbers of tokenizer.ggml.token_type.
enum TokenType : int { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };

constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr const char* kMerges = "tokenizer.ggml.merges";

/// Text as JSON; a token that is no UTF-8 is refused by its key.
std::string quoted(const GgufHeader& header, const char* key, std::string_view text) {
  if (!is_utf8(text))
    fail(ExitCode::refused_input, header.name(), ": key '", key, "': holds text that is no UTF-8");
  return Json(text).dump();
}

struct TokenList {
  std::vector<std::string_view> texts;
  std::vector<int> types;

  bool is_added(size_t id) const {
    return types[id] == kControl || types[id] == kUserDefined || types[id] == kUnknown;
  }
  /// Ids that no text leads to.
  bool is_hole(size_t id) const { return types[id] == kUnused || texts[id].empty(); }
};

TokenList read_tokens(const GgufHeader& header) {
  TokenList list;
  list.texts = header.texts(kTokens);
  list.types.assign(list.texts.size(), kNormal);
  constexpr const char* kTypes = "tokenizer.ggml.token_type";
  if (!header.has(kTypes)) return list;
  const std::vector<double> types = header.numbers(kTypes);
  if (types.size() != list.texts.size())
    header.refuse(kTypes, concat("one for each of the ", list.texts.size(), " tokens"));
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] < 0 || types[id] > static_cast<int>(kByte)) header.refuse(kTypes, "0 to 6");
    list.types[id] = static_cast<int>(types[id]);
  }
  return list;
}

constexpr const char* kModel = "tokenizer.ggml.model";

/// Pieces with scores, as SentencePiece has them; else byte-level BPE.
bool has_pieces(const GgufHeader& header) {
  const std::string model = header.text(kModel);
  if (model != "gpt2" && model != "llama")
    header.refuse(kModel, "gpt2 (byte-level BPE) or llama (SentencePiece)");
  return model == "llama";
}

const GgufSplitter& read_splitter(const GgufHeader& header) {
  const GgufSplitter* splitter = find_gguf_splitter(header.text("tokenizer.ggml.pre"));
  if (splitter == nullptr) header.refuse("tokenizer.ggml.pre", gguf_splitter_names());
  return *splitter;
}

std::string added_tokens(const GgufHeader& header, const TokenList& tokens) {
  std::string list;
  for (size_t id = 0; id < tokens.texts.size(); ++id) {
    if (!tokens.is_added(id) || tokens.is_hole(id)) continue;
    list += concat(list.empty() ? "" : ",\n    ", R"({"id": )", id, R"(, "content": )",
                   quoted(header, kTokens, tokens.texts[id]),
                   R"(, "single_word": false, "lstrip": false, "rstrip": false, )",
                   R"("normalized": false, "special": )",
                   tokens.types[id] == kUserDefined ? "false" : "true", "}");
  }
  return list;
}

std::string vocabulary(const GgufHeader& header, const TokenList& tokens) {
  std::string list;
  for (size_t id = 0; id < tokens.texts.size(); ++id)
    if (!tokens.is_hole(id))
      list += concat(list.empty() ? "" : ", ", quoted(header, kTokens, tokens.texts[id]), ": ", id);
  return list;
}

/// "left right" with one space between; those inside a half are spelled otherwise.
std::string merge_pairs(const GgufHeader& header) {
  std::string list;
  if (!header.has(kMerges)) return list;
  for (const std::string_view merge : header.texts(kMerges)) {
    const size_t space = merge.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == merge.size())
      fail(ExitCode::refused_input, header.name(), ": key '", kMerges, "': came '",
           shown_text(merge), "', allowed are two halves with a space between");
    list += concat(list.empty() ? "" : ", ", "[", quoted(header, kMerges, merge.substr(0, space)),
                   ", ", quoted(header, kMerges, merge.substr(space + 1)), "]");
  }
  return list;
}

Json pre_tokenizer(const GgufSplitter& splitter) {
  Json bytes = {{"type", "ByteLevel"},
                {"add_prefix_space", false},
                {"trim_offsets", true},
                {"use_regex", splitter.pattern.empty()}};
  Json steps = Json::array();
  if (splitter.single_digits) steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  if (!splitter.pattern.empty())
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", splitter.pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  if (steps.empty()) return bytes;
  steps.push_back(std::move(bytes));
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

std::string special_text(const GgufHeader& header, const char* kind) {
  const std::string key = concat("tokenizer.ggml.", kind, "_token_id");
  if (!header.has(key) || !header.has(kTokens)) return {};
  const uint64_t id = header.natural(key);
  const std::vector<std::string_view> texts = header.texts(kTokens);
  if (id >= texts.size()) header.refuse(key, concat("an id below ", texts.size()));
  if (!is_utf8(texts[id])) header.refuse(key, "the id of a token that is UTF-8");
  return std::string(texts[id]);
}

bool puts_bos(const GgufHeader& header) {
  if (header.text_or(kModel, "") == "llama")
    return header.boolean_or("tokenizer.ggml.add_bos_token", true);
  const std::string pre = header.text_or("tokenizer.ggml.pre", "");
  const GgufSplitter* splitter = find_gguf_splitter(pre);
  return header.boolean_or("tokenizer.ggml.add_bos_token",
                           splitter != nullptr && splitter->adds_bos);
}

/// Puts BOS and EOS around a text where the file says so.
Json post_processor(const GgufHeader& header) {
  const std::string bos = puts_bos(header) ? special_text(header, "bos") : "";
  const bool puts_eos = header.boolean_or("tokenizer.ggml.add_eos_token", false);
  const std::string eos = puts_eos ? special_text(header, "eos") : "";
  if (bos.empty() && eos.empty() && has_pieces(header)) return nullptr;
  if (bos.empty() && eos.empty())
    return {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", false},
            {"use_regex", true}};
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto add_token = [&](const std::string& text, const char* kind) {
    if (text.empty()) return;
    for (Json* list : {&single, &pair})
      list->push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    const uint64_t id = header.natural(concat("tokenizer.ggml.", kind, "_token_id"));
    tokens[text] = {{"id", text}, {"ids", Json::array({id})}, {"tokens", Json::array({text})}};
  };
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  add_token(bos, "bos");
  single.push_back(sequence("A", 0));
  pair.push_back(sequence("A", 0));
  pair.push_back(sequence("B", 1));
  add_token(eos, "eos");
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

}  // namespace

namespace {

/// The parts of a tokenizer.json that differ from kind to kind.
struct KindOfTokenizer {
  Json normalizer, pre_tokenizer, decoder;
  std::string model_fields;  // the first of "model", each with a comma behind it
  std::string merges;
};

KindOfTokenizer byte_level(const GgufHeader& header) {
  const GgufSplitter& splitter = read_splitter(header);
  KindOfTokenizer kind;
  if (splitter.composes) kind.normalizer = {{"type", "NFC"}};
  kind.pre_tokenizer = pre_tokenizer(splitter);
  kind.decoder = {{"type", "ByteLevel"},
                  {"add_prefix_space", true},
                  {"trim_offsets", true},
                  {"use_regex", true}};
  kind.model_fields = concat(R"("unk_token": null, "fuse_unk": false, "byte_fallback": false, )",
                             R"("ignore_merges": )", splitter.ignores_merges ? "true" : "false");
  kind.merges = merge_pairs(header);
  return kind;
}

/// The order in which pieces are joined follows from their scores.
std::string scored_merges(const GgufHeader& header, const TokenList& tokens) {
  constexpr const char* kScores = "tokenizer.ggml.scores";
  const std::vector<double> stored = header.numbers(kScores);
  if (stored.size() != tokens.texts.size())
    header.refuse(kScores, concat("one for each of the ", tokens.texts.size(), " tokens"));
  std::vector<std::string_view> pieces = tokens.texts;
  for (size_t id = 0; id < pieces.size(); ++id)
    if (tokens.types[id] != kNormal) pieces[id] = {};
  std::string list;
  for (const auto& [left, right] :
       merges_of_pieces(pieces, std::vector<float>(stored.begin(), stored.end())))
    list += concat(list.empty() ? "" : ", ", "[", quoted(header, kTokens, left), ", ",
                   quoted(header, kTokens, right), "]");
  return list;
}

KindOfTokenizer scored_pieces(const GgufHeader& header, const TokenList& tokens) {
  constexpr const char* kSpace = "\xE2\x96\x81";
  const bool leads = header.boolean_or("tokenizer.ggml.add_space_prefix", true);
  Json before = Json::array(), after = Json::array();
  if (leads) before.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  before.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
  after.push_back({{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}});
  after.push_back({{"type", "ByteFallback"}});
  after.push_back({{"type", "Fuse"}});
  if (leads) after.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  KindOfTokenizer kind;
  kind.normalizer = {{"type", "Sequence"}, {"normalizers", before}};
  kind.decoder = {{"type", "Sequence"}, {"decoders", after}};
  std::string unknown = special_text(header, "unknown");
  for (size_t id = 0; id < tokens.texts.size() && unknown.empty(); ++id)
    if (tokens.types[id] == kUnknown) unknown = tokens.texts[id];
  kind.model_fields =
      concat(R"("unk_token": )", unknown.empty() ? "null" : quoted(header, kTokens, unknown),
             R"(, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false)");
  kind.merges = scored_merges(header, tokens);
  return kind;
}

}  // namespace

bool has_gguf_tokenizer(const GgufHeader& header) { return header.has(kTokens); }

std::string gguf_tokenizer_json(const GgufHeader& header) {
  const TokenList tokens = read_tokens(header);
  const KindOfTokenizer kind =
      has_pieces(header) ? scored_pieces(header, tokens) : byte_level(header);
  return concat("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n",
                "  \"added_tokens\": [", added_tokens(header, tokens), "],\n",
                "  \"normalizer\": ", kind.normalizer.dump(), ",\n",
                "  \"pre_tokenizer\": ", kind.pre_tokenizer.dump(), ",\n",
                "  \"post_processor\": ", post_processor(header).dump(), ",\n",
                "  \"decoder\": ", kind.decoder.dump(), ",\n",
                "  \"model\": {\"type\": \"BPE\", \"dropout\": null, ",
                "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, ",
                kind.model_fields, ",\n", "    \"vocab\": {", vocabulary(header, tokens), "},\n",
                "    \"merges\": [", kind.merges, "]}\n}\n");
}

Json gguf_tokenizer_config(const GgufHeader& header) {
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"add_bos_token", puts_bos(header)}};
  const struct {
    const char *kind, *name;
  } kinds[] = {{"bos", "bos_token"},
               {"eos", "eos_token"},
               {"padding", "pad_token"},
               {"unknown", "unk_token"}};
  for (const auto& [kind, name] : kinds)
    if (const std::string text = special_text(header, kind); !text.empty()) config[name] = text;
  if (header.has("tokenizer.chat_template"))
    config["chat_template"] = header.text("tokenizer.chat_template");
  return config;
}

}  // namespace isogrid
