#pragma once
#include <cstddef>
#include <functional>
#include <iosfwd>
#include <string>

#include "data/tokenizer/tokenizer.h"

namespace isogrid {

/// What `trainer tokenize` does with its input, line by line and in order: a JSON string becomes a
/// JSON array of ids, or with `decode` the reverse. Lines are answered as they come, as many at a
/// time as are there, so that memory does not grow with the input and a talk line by line works;
/// `threads` share the work.
/// A malformed line, half a surrogate pair in a string included, is Error 65 with its number; the
/// lines of the chunks before it are then written already.
struct TokenizeLines {
  bool decode = false;
  unsigned threads = 1;
  std::string name = "stdin";  // of the input, in messages

  /// Writes up to `most` bytes to `to` and returns how many; 0 only at the end of the input.
  using Source = std::function<size_t(char* to, size_t most)>;

  void run(const Tokenizer& tokenizer, const Source& read, std::ostream& out) const;
};

/// `text`, which must be UTF-8, as a JSON string with its quotes, free of line ends of any kind.
void append_json_string(std::string& out, std::string_view text);

}  // namespace isogrid
