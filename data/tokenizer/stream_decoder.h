#pragma once
#include <cstdint>
#include <string>

#include "data/tokenizer/decoder.h"
#include "data/tokenizer/tokenizer.h"

namespace isogrid {

/// Decodes one id at a time. What push() gives never ends inside a character, and all the parts
/// with finish() laid end to end are Tokenizer::decode of all the ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = false);

  /// The text that is certain after `id`; empty while a character is incomplete.
  std::string push(int32_t id);
  /// The rest, incomplete characters as U+FFFD; the decoder is then as new.
  std::string finish();

  /// The same, appended.
  void push(int32_t id, std::string& out);
  void finish(std::string& out);

 private:
  Tokenizer tokenizer_;  // keeps alive what decoder_ points to
  TokenDecoder decoder_;
  bool skip_special_;
};

}  // namespace isogrid
