#pragma once
#include <string>

namespace isogrid {

/// Lines of a file descriptor, read as they come. Waiting ends early when something arrives on a
/// second one, to which a signal handler writes: unlike a wait that a signal interrupts, this
/// misses no signal that comes just before it.
class InputLines {
 public:
  enum class Event { line, end, woken };

  /// `waker` may be -1; it must not block.
  explicit InputLines(int descriptor, int waker = -1) : descriptor_(descriptor), waker_(waker) {}

  /// `line` comes without its newline; a last line without one counts.
  Event next(std::string& line);
  /// Forgets wakings so far.
  void forget_wakings();

 private:
  bool take_line(std::string& line);
  bool wait();

  int descriptor_;
  int waker_;
  std::string buffer_;
  size_t searched_ = 0;
  bool ended_ = false;
};

}  // namespace isogrid
