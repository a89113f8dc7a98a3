#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "core/json_fwd.h"
#include "data/tokenizer/parts.h"

namespace isogrid {

/// Reads `folder`/tokenizer.model with the special tokens of tokenizer_config.json and
/// added_tokens.json beside it, and cuts text as the LlamaTokenizer of transformers does: as BPE
/// whose merges are the pieces in order, with byte fallback. Unigram models are refused.
std::shared_ptr<TokenizerParts> read_sentencepiece_folder(const std::filesystem::path& folder);

/// The same from bytes: `config` and `added` are the two JSON files, or null.
std::shared_ptr<TokenizerParts> read_sentencepiece(std::string_view file, const std::string& name,
                                                   const Json& config, const Json& added);

}  // namespace isogrid
