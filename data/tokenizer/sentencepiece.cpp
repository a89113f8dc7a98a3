#include "data/tokenizer/sentencepiece.h"

#include <map>

#include "core/error.h"
#include "core/json.h"
#include "data/tokenizer/file_bytes.h"
#include "data/tokenizer/limits.h"
#include "data/tokenizer/sentencepiece_proto.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
constexpr const char* kConfigFile = "tokenizer_config.json";

void refuse_other_kinds(const SentencePieceModel& model, bool prefix, const std::string& name) {
  if (model.model_type != SentencePieceModel::kBpe)
    fail(ExitCode::refused_input, name, ": trainer_spec.model_type is ", model.model_type,
         "; only BPE (2) is supported");
  if (!model.charsmap.empty())
    fail(ExitCode::refused_input, name, ": normalizer_spec '", model.normalization,
         "' rewrites characters by a map of ", model.charsmap.size(),
         " bytes; only identity is supported");
  if (model.remove_extra_whitespaces || !model.escape_whitespaces)
    fail(ExitCode::refused_input, name,
         ": normalizer_spec.remove_extra_whitespaces and "
         "escape_whitespaces are ",
         model.remove_extra_whitespaces, " and ", model.escape_whitespaces,
         "; only 0 and 1 are supported");
  if (model.add_dummy_prefix != prefix)
    fail(ExitCode::refused_input, name, ": normalizer_spec.add_dummy_prefix is ",
         model.add_dummy_prefix, ", which contradicts add_prefix_space of ", kConfigFile);
}

// Every way to cut a piece into two pieces is a merge; the earlier piece has the lower rank, then
// the shorter left part.
std::vector<Merge> merges_of(const SentencePieceModel& model, const Vocabulary& vocabulary) {
  std::vector<Merge> merges;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const std::string_view text = model.pieces[id].text;
    for (size_t at = utf8_char(text, 0).bytes; at < text.size(); at += utf8_char(text, at).bytes) {
      const int32_t left = vocabulary.find(text.substr(0, at));
      const int32_t right = vocabulary.find(text.substr(at));
      if (left != Vocabulary::kNone && right != Vocabulary::kNone)
        merges.push_back({left, right, static_cast<int32_t>(id)});
    }
  }
  return merges;
}

void build_model(const SentencePieceModel& file, const std::string& name, TokenizerParts& parts) {
  Vocabulary vocabulary;
  for (size_t id = 0; id < file.pieces.size(); ++id)
    if (!vocabulary.add(file.pieces[id].text, static_cast<int32_t>(id)))
      fail(ExitCode::refused_input, name, ": piece ", id, " '", file.pieces[id].text,
           "' is there twice");
  const std::vector<Merge> merges = merges_of(file, vocabulary);
  const BpeOptions options{.byte_fallback = true, .fuse_unk = true, .unk_token = {}};
  parts.model.build(options, std::move(vocabulary), merges);
}

void add_token(TokenizerParts& parts, AddedToken token, int64_t wanted) {
  if (token.content.empty()) return;
  if (token.content.size() > kTokenizerPieceBytes || parts.added.size() > kTokenizerTokens)
    fail(ExitCode::refused_input, kConfigFile, ": too many or too long special tokens");
  const std::string content = token.content;
  const int32_t id = parts.add(std::move(token));
  if (wanted >= 0 && id != wanted)
    fail(ExitCode::refused_input, kConfigFile, ": the token '", content, "' should have the id ",
         wanted, ", but tokenizer.model makes it ", id);
}

AddedToken token_from(const Json& entry, const std::string& where) {
  const JsonFields fields(entry, where);
  return {.content = fields.string("content"),
          .single_word = fields.boolean_or("single_word", false),
          .lstrip = fields.boolean_or("lstrip", false),
          .rstrip = fields.boolean_or("rstrip", false),
          .normalized = fields.boolean_or("normalized", true),
          .special = fields.boolean_or("special", false)};
}

// added_tokens_decoder of the config, else added_tokens.json, in the order of the ids.
void add_listed_tokens(const Json& config, const Json& added, TokenizerParts& parts) {
  std::map<int64_t, AddedToken> listed;
  if (config.is_object() && config.contains("added_tokens_decoder")) {
    const Json& entries = config["added_tokens_decoder"];
    for (const auto& [key, entry] : entries.items()) {
      const bool digits = !key.empty() && key.size() < 8 &&
                          key.find_first_not_of("0123456789") == std::string::npos;
      if (!digits)
        fail(ExitCode::refused_input, kConfigFile, ": added_tokens_decoder: '", key,
             "' is not an id");
      listed[std::stoll(key)] = token_from(entry, concat(kConfigFile, ": token ", key));
    }
  } else if (added.is_object()) {
    for (const auto& [content, id] : added.items()) {
      if (!id.is_number_unsigned())
        fail(ExitCode::refused_input, "added_tokens.json: the id of '", content,
             "' is not a whole number");
      listed[static_cast<int64_t>(id.get<uint64_t>() & INT64_MAX)] = {.content = content,
                                                                      .normalized = true};
    }
  }
  for (auto& [id, token] : listed) add_token(parts, std::move(token), id);
}

// bos_token and the like are a string, or an object with the flags. Returns the id, -1 for none.
int32_t add_named_token(const Json& config, const char* key, const std::string& fallback,
                        TokenizerParts& parts) {
  AddedToken token{.content = fallback, .special = true};
  if (config.is_object() && config.contains(key)) {
    const Json& entry = config[key];
    if (entry.is_object()) {
      token = token_from(entry, concat(kConfigFile, ": ", key));
      token.special = true;
    } else {
      token.content = entry.is_string() ? entry.get<std::string>() : "";
    }
  }
  if (token.content.empty()) return -1;
  const auto known = parts.added_ids.find(token.content);
  if (known != parts.added_ids.end()) {
    parts.added[known->second].special = true;
    return known->second;
  }
  const std::string content = token.content;
  add_token(parts, std::move(token), -1);
  return parts.added_ids[content];
}

void add_prefix_and_decoder(const std::string& scheme, TokenizerParts& parts) {
  const std::string mark(kSpaceMark);
  parts.pre_tokenizer.push_back(
      {.kind = PreStep::Kind::replace, .text = mark, .replaced = " ", .pattern = {}});
  if (scheme != "never")
    parts.pre_tokenizer.push_back({.kind = PreStep::Kind::prefix,
                                   .text = mark,
                                   .replaced = {},
                                   .only_at_start = scheme == "first",
                                   .pattern = {}});
  parts.decoder = {.kind = DecoderSteps::Kind::pieces,
                   .replacements = {{mark, " "}},
                   .first_token_drops = {},
                   .byte_fallback = true,
                   .strip = " ",
                   .strip_most = scheme == "never" ? 0u : 1u};
}

bool config_flag(const Json& config, const char* key, bool fallback) {
  if (!config.is_object()) return fallback;
  return JsonFields(config, kConfigFile).boolean_or(key, fallback);
}

Json read_optional(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? read_json_file(path.string()) : Json();
}

}  // namespace

std::shared_ptr<TokenizerParts> read_sentencepiece(std::string_view file, const std::string& name,
                                                   const Json& config, const Json& added) {
  const SentencePieceModel model = parse_sentencepiece(file, name);
  const bool prefix = config_flag(config, "add_prefix_space", true);
  refuse_other_kinds(model, prefix, name);
  auto parts = std::make_shared<TokenizerParts>();
  build_model(model, name, *parts);
  using Type = SentencePieceModel::Type;
  for (const SentencePieceModel::Piece& piece : model.pieces)
    if (piece.type == Type::control || piece.type == Type::user_defined)
      parts->add({.content = std::string(piece.text), .special = piece.type == Type::control});
  add_listed_tokens(config, added, *parts);
  add_named_token(config, "unk_token", "<unk>", *parts);
  const int32_t bos = add_named_token(config, "bos_token", "<s>", *parts);
  const int32_t eos = add_named_token(config, "eos_token", "</s>", *parts);
  for (const char* key : {"pad_token", "sep_token", "cls_token", "mask_token"})
    add_named_token(config, key, "", *parts);
  if (bos >= 0 && config_flag(config, "add_bos_token", true)) parts->framed_before = {bos};
  if (eos >= 0 && config_flag(config, "add_eos_token", false)) parts->framed_behind = {eos};
  const bool legacy = config_flag(config, "legacy", false);
  add_prefix_and_decoder(!prefix ? "never" : legacy ? "always" : "first", *parts);
  parts->finish();
  return parts;
}

std::shared_ptr<TokenizerParts> read_sentencepiece_folder(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.model";
  const FileBytes file(path, kTokenizerFileBytes);
  return read_sentencepiece(file.text(), path.string(), read_optional(folder / kConfigFile),
                            read_optional(folder / "added_tokens.json"));
}

}  // namespace isogrid
