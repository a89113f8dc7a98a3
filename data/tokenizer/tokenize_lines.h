#pragma once
#include <cstddef>
#include <iosfwd>
#include <string>

#include "data/tokenizer/tokenizer.h"

namespace isogrid {

/// What `trainer tokenize` does with its input, line by line and in order: a JSON string becomes a
/// JSON array of ids, or with `decode` the reverse. Lines are read and written in chunks, so that
/// memory does not grow with the input; `threads` of them share a chunk.
/// A malformed line, half a surrogate pair in a string included, is Error 65 with its number; the
/// lines of the chunks before it are then written already.
struct TokenizeLines {
  bool decode = false;
  unsigned threads = 1;
  std::string name = "stdin";  // of the input, in messages

  void run(const Tokenizer& tokenizer, std::istream& in, std::ostream& out) const;
};

/// `text`, which must be UTF-8, as a JSON string with its quotes, free of line ends of any kind.
void append_json_string(std::string& out, std::string_view text);

}  // namespace isogrid
