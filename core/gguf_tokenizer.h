#pragma once
#include <string>

#include "core/gguf.h"
#include "core/json.h"

namespace isogrid {

/// Does the file hold a tokenizer?
bool has_gguf_tokenizer(const GgufHeader& header);

/// The text of the tokenizer.json that cuts as the file's keys say. Error 65 for a kind of
/// tokenizer or splitter this program does not have.
std::string gguf_tokenizer_json(const GgufHeader& header);

/// tokenizer_config.json: the special tokens by their text, and the chat template.
Json gguf_tokenizer_config(const GgufHeader& header);

}  // namespace isogrid
