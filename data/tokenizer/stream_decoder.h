#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace isogrid {

/// Decodes one id at a time. What push() returns never ends inside a character, and all the
/// returned parts with finish() laid end to end are Tokenizer::decode of all the ids.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special = false);

  /// The text that is certain after `id`; empty while a character is incomplete.
  std::string push(int32_t id);
  /// The rest, incomplete characters as U+FFFD; the decoder is then as new.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  bool started_ = false;
  std::string pending_;  // bytes whose characters are still open
};

}  // namespace isogrid
