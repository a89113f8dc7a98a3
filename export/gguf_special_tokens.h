#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/gguf_writer.h"
#include "data/tokenizer/tokenizer_json.h"
#include "models/folder.h"

namespace isogrid {

/// What a folder says about tokens with a task: BOS, EOS, padding, ... and its chat templates.
struct SpecialTokens {
  std::vector<std::pair<std::string, uint32_t>> ids;  // "bos" -> 151643
  std::vector<std::pair<std::string, bool>> added;    // "bos" -> put in front of every text
  std::string chat_template;                          // empty: none
  std::vector<std::pair<std::string, std::string>> named_templates;
  bool frames_text = false;  // the post-processor puts a token in front
};

/// From tokenizer_config.json, the post-processor of tokenizer.json and config.json, in this order
/// of precedence, as llama.cpp's converter reads them.
SpecialTokens read_special_tokens(const ModelFolder& folder, const SectionFields& tokenizer);

void add_special_tokens(const SpecialTokens& special, GgufMetadata& metadata);

}  // namespace isogrid
