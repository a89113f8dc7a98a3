#include "trainer/input_lines.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace isogrid {

InputLines::Event InputLines::next(std::string& line) {
  while (true) {
    const size_t newline = buffer_.find('\n', searched_);
    if (newline != std::string::npos || (ended_ && !buffer_.empty())) {
      const size_t length = newline == std::string::npos ? buffer_.size() : newline;
      line = buffer_.substr(0, length);
      if (line.ends_with('\r')) line.pop_back();
      buffer_.erase(0, newline == std::string::npos ? length : length + 1);
      searched_ = 0;
      return Event::line;
    }
    if (ended_) return Event::end;
    searched_ = buffer_.size();
    std::array<char, 4096> chunk;
    const ssize_t count = ::read(descriptor_, chunk.data(), chunk.size());
    if (count > 0) {
      buffer_.append(chunk.data(), static_cast<size_t>(count));
    } else if (count == 0) {
      ended_ = true;
    } else if (errno == EINTR) {
      return Event::interrupted;
    } else {
      fail(ExitCode::io, "standard input: ", std::strerror(errno));
    }
  }
}

}  // namespace isogrid
