#include "export/gguf_vocabulary.h"

#include <filesystem>

#include "core/error.h"
#include "core/gguf_folder.h"
#include "data/tokenizer/gguf_splitter.h"
#include "data/tokenizer/limits.h"
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/tokenizer_json.h"
#include "export/gguf_special_tokens.h"

namespace isogrid {
namespace {

/// Numbers of tokenizer.ggml.token_type.
enum TokenType : int32_t { kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5 };

/// Some models leave `special` out where they mean it.
bool looks_special(std::string_view token) {
  if (token == "<pad>" || token == "<mask>" || token == "<2mass>" || token == "[@BOS@]")
    return true;
  constexpr std::string_view kBar = "\xEF\xBD\x9C";  // the full-width one of some models
  if (token.starts_with("<|") && token.ends_with("|>")) return true;
  if (token.starts_with(std::string("<") + std::string(kBar)) &&
      token.ends_with(std::string(kBar) + ">"))
    return true;
  return token.starts_with("<unused") && token.ends_with(">");
}

std::string with_plain_spaces(std::string_view token) {
  std::string text;
  replace_all(token, "\xE2\x96\x81", " ", SIZE_MAX, text);
  return text;
}

void add_tokens(const Tokenizer& tokenizer, int64_t vocabulary, const std::string& name,
                GgufMetadata& metadata) {
  if (tokenizer.size() > vocabulary)
    fail(ExitCode::refused_input, name, ": has ids up to ", tokenizer.size() - 1,
         ", config.json allows ", vocabulary, " (vocab_size)");
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  for (int32_t id = 0; id < vocabulary; ++id) {
    const std::string_view token = tokenizer.token_of(id);
    if (token.empty() && !tokenizer.is_added(id)) {
      tokens.push_back(concat("[PAD", id, "]"));
      types.push_back(kUnused);
    } else if (!tokenizer.is_added(id)) {
      tokens.emplace_back(token);
      types.push_back(kNormal);
    } else if (tokenizer.is_special(id) || looks_special(token)) {
      tokens.emplace_back(token);
      types.push_back(kControl);
    } else {
      tokens.push_back(with_plain_spaces(token));
      types.push_back(kUserDefined);
    }
  }
  metadata.add("tokenizer.ggml.tokens", tokens);
  metadata.add("tokenizer.ggml.token_type", types);
}

/// A space inside a half would be read as the one between them.
std::string merge_half(std::string_view half) {
  std::string text;
  replace_all(half, " ", "\xC4\xA0", SIZE_MAX, text);
  return text;
}

std::vector<std::string> read_merges(JsonReader reader) {
  std::vector<std::string> merges;
  reader.begin_array();
  while (reader.next_element()) {
    if (reader.peek() == JsonKind::string) {
      merges.emplace_back(reader.string());
      continue;
    }
    std::string both;
    reader.begin_array();
    while (reader.next_element()) both += (both.empty() ? "" : " ") + merge_half(reader.string());
    merges.push_back(std::move(both));
  }
  return merges;
}

}  // namespace

void add_vocabulary(const ModelFolder& folder, int64_t vocabulary, GgufMetadata& metadata) {
  const InputDirectory& files = *folder.files;
  if (files.gguf()) {
    for (const GgufValue& value : files.gguf()->first().header().values())
      if (value.key.starts_with("tokenizer.")) metadata.add(value);
    return;
  }
  const std::string name = files.shown("tokenizer.json");
  if (!files.has("tokenizer.json"))
    fail(ExitCode::refused_input, name, ": is missing; a GGUF file holds the tokenizer too");
  const std::string text = files.read("tokenizer.json", kTokenizerFileBytes);
  const Tokenizer tokenizer = Tokenizer::from_json({text.data(), text.size()}, name);
  const SectionFields file(JsonReader(text, name), "");
  const SectionFields model(file.at("model"), "model");
  const SpecialTokens special = read_special_tokens(folder, file);

  metadata.add("tokenizer.ggml.model", "gpt2");
  metadata.add("tokenizer.ggml.pre", gguf_splitter_of(file, special.frames_text).name);
  add_tokens(tokenizer, vocabulary, name, metadata);
  if (const auto merges = read_merges(model.at("merges")); !merges.empty())
    metadata.add("tokenizer.ggml.merges", merges);
  add_special_tokens(special, metadata);
}

}  // namespace isogrid
