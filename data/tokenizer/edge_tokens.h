#pragma once
#include <string>

#include "core/input_directory.h"
#include "data/tokenizer/tokenizer.h"

namespace isogrid {

/// What a tokenizer's folder says about the two ends of a text; empty where it has no such token.
struct EdgeTexts {
  std::string bos, eos;
  bool bos_before_text = false;  // add_bos_token: raw text begins with bos
};

/// As tokenizer_config.json names them, else by the ids of config.json.
EdgeTexts read_edge_texts(const InputDirectory& files, const Tokenizer& tokenizer);

}  // namespace isogrid
