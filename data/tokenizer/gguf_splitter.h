#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "data/tokenizer/tokenizer_json.h"

namespace isogrid {

/// How GGUF names a way of cutting text into words (tokenizer.ggml.pre), and what it means.
struct GgufSplitter {
  std::string_view name;
  std::string_view pattern;  // of a Split; empty: GPT-2's own
  bool single_digits = false;
  bool adds_bos = false;        // the engine puts BOS in front unless told otherwise
  bool ignores_merges = false;  // a word that is a token is that token
  bool composes = false;        // its tokenizers bring text into NFC first
};

/// By GGUF's name, with the other names the engine takes for the same; null: not known.
const GgufSplitter* find_gguf_splitter(std::string_view name);
std::string gguf_splitter_names();  // for messages

/// The one a tokenizer.json asks for. `frames_text`: its post-processor puts a token in front.
/// Error 65 where the engine has none that cuts alike.
const GgufSplitter& gguf_splitter_of(const SectionFields& file, bool frames_text);

}  // namespace isogrid
