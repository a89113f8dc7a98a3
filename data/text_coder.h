#pragma once
#include <string>

#include "data/tokenizer/edge_tokens.h"
#include "data/tokenizer/tokenizer.h"

namespace isogrid {

/// A tokenizer, the marks at the edges of its texts, and the hash of the file it was read from.
struct TextCoder {
  Tokenizer tokenizer;
  EdgeTexts edges;
  std::string sha256;
};

/// Of a model's folder; it needs no weights. Missing: 66; malformed: 65.
TextCoder open_text_coder(const std::string& folder);

}  // namespace isogrid
