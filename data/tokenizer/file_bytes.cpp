#include "data/tokenizer/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace isogrid {
namespace {

class Descriptor {
 public:
  explicit Descriptor(const char* path)
      : number_(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

FileBytes::FileBytes(const std::filesystem::path& path, size_t limit) {
  const std::string name = path.string();
  const Descriptor file(name.c_str());
  if (file.number() < 0) {
    const ExitCode code = errno == ENOENT ? ExitCode::missing_input : ExitCode::io;
    fail(code, name, ": cannot be opened: ", std::strerror(errno));
  }
  struct stat status;
  if (::fstat(file.number(), &status) != 0)
    fail(ExitCode::io, name, ": cannot be examined: ", std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(ExitCode::refused_input, name, ": not a regular file");
  const auto size = static_cast<size_t>(status.st_size);
  if (size > limit)
    fail(ExitCode::refused_input, name, ": ", size, " bytes; at most ", limit, " are read");
  text_.resize(size);
  for (size_t at = 0; at < size;) {
    const ssize_t got = ::read(file.number(), text_.data() + at, size - at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ExitCode::io, name, ": cannot be read: ", std::strerror(errno));
    if (got == 0) {
      text_.resize(at);  // the file became shorter
      break;
    }
    at += static_cast<size_t>(got);
  }
}

}  // namespace isogrid
