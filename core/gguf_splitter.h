#pragma once
#include <span>
#include <string>
#include <string_view>

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

/// Where several cut alike, the first is what an export names, unless it adds BOS and the
/// tokenizer does not.
std::span<const GgufSplitter> gguf_splitters();
/// By GGUF's name, with the other names the engine takes for the same; null: not known.
const GgufSplitter* find_gguf_splitter(std::string_view name);
std::string gguf_splitter_names();  // for messages

}  // namespace isogrid
