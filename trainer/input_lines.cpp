#include "trainer/input_lines.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace isogrid {

InputLines::Event InputLines::next(std::string& line) {
  while (!take_line(line)) {
    if (ended_) return Event::end;
    if (!wait()) return Event::woken;
    std::array<char, 4096> chunk;
    const ssize_t count = ::read(descriptor_, chunk.data(), chunk.size());
    if (count > 0) {
      buffer_.append(chunk.data(), static_cast<size_t>(count));
    } else if (count == 0 || errno == EIO) {  // EIO: the terminal is gone
      ended_ = true;
    } else if (errno != EINTR) {
      fail(ExitCode::io, "standard input: ", std::strerror(errno));
    }
  }
  return Event::line;
}

void InputLines::forget_wakings() {
  std::array<char, 64> bytes;
  while (waker_ >= 0 && ::read(waker_, bytes.data(), bytes.size()) > 0) {
  }
}

bool InputLines::take_line(std::string& line) {
  const size_t newline = buffer_.find('\n', searched_);
  searched_ = buffer_.size();
  if (newline == std::string::npos && (!ended_ || buffer_.empty())) return false;
  const size_t length = newline == std::string::npos ? buffer_.size() : newline;
  line = buffer_.substr(0, length);
  if (line.ends_with('\r')) line.pop_back();
  buffer_.erase(0, newline == std::string::npos ? length : length + 1);
  searched_ = 0;
  return true;
}

// False when woken.
bool InputLines::wait() {
  std::array<pollfd, 2> waits{pollfd{descriptor_, POLLIN, 0}, pollfd{waker_, POLLIN, 0}};
  while (::poll(waits.data(), waits.size(), /*timeout=*/-1) < 0) {
    if (errno != EINTR) fail(ExitCode::io, "standard input: ", std::strerror(errno));
  }
  if (waits[1].revents == 0) return true;
  forget_wakings();
  return false;
}

}  // namespace isogrid
