#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "data/tokenizer/parts.h"

namespace isogrid {

/// Reads `folder`/tokenizer.model with the special tokens of tokenizer_config.json and
/// added_tokens.json beside it, and cuts text as the Llama tokenizer of transformers does.
std::shared_ptr<TokenizerParts> read_sentencepiece_folder(const std::filesystem::path& folder);

}  // namespace isogrid
