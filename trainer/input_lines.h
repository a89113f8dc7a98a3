#pragma once
#include <string>

namespace isogrid {

/// Lines of a file descriptor, read as they come. Unlike std::getline it tells an interrupted
/// wait (a signal) from the end of the input, and goes on after one.
class InputLines {
 public:
  enum class Event { line, end, interrupted };

  explicit InputLines(int descriptor) : descriptor_(descriptor) {}

  /// `line` comes without its newline; a last line without one counts.
  Event next(std::string& line);

 private:
  int descriptor_;
  std::string buffer_;
  size_t searched_ = 0;
  bool ended_ = false;
};

}  // namespace isogrid
