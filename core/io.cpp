#include "core/io.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/format.h"

namespace isogrid {
namespace {

struct stat status_of(const FileDescriptor& file, const std::string& name) {
  struct stat status {};
  if (fstat(file.get(), &status) != 0)
    fail(ExitCode::missing_input, name, ": cannot be examined: ", std::strerror(errno));
  return status;
}

const char* kind_of_file(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISLNK(mode)) return "a symbolic link";
  return "a device";
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int FileDescriptor::release() { return std::exchange(fd_, -1); }

FileDescriptor open_regular_file(const std::string& path) {
  if (path.find('\0') != std::string::npos)
    fail(ExitCode::refused_input, "a file name holds a NUL character; allowed is a plain path");
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    // A socket cannot be opened at all; it is there, but not something to read.
    const ExitCode code = errno == ENXIO ? ExitCode::refused_input : ExitCode::missing_input;
    fail(code, path, ": cannot be opened: ", std::strerror(errno));
  }
  require_regular_file(file, path);
  return file;
}

void require_regular_file(const FileDescriptor& file, const std::string& name) {
  const mode_t mode = status_of(file, name).st_mode;
  if (!S_ISREG(mode))
    fail(ExitCode::refused_input, name, ": is ", kind_of_file(mode), "; a regular file is needed");
}

MappedFile::MappedFile(const std::string& path) : name_(path) { map(open_regular_file(path)); }

MappedFile::MappedFile(const FileDescriptor& file, std::string name) : name_(std::move(name)) {
  require_regular_file(file, name_);
  map(file);
}

void MappedFile::map(const FileDescriptor& file) {
  const auto size = static_cast<size_t>(status_of(file, name_).st_size);
  if (size == 0) return;  // mmap refuses an empty range
  void* address =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.get(), 0);
  if (address == MAP_FAILED)
    fail(ExitCode::memory, name_, ": cannot map ", human_bytes(size), ": ", std::strerror(errno));
  data_ = static_cast<const std::byte*>(address);
  size_ = size;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_text_file(const std::string& path, uint64_t max_bytes) {
  return read_text_file(open_regular_file(path), path, max_bytes);
}

std::string read_text_file(const FileDescriptor& file, const std::string& name,
                           uint64_t max_bytes) {
  const auto size = static_cast<uint64_t>(status_of(file, name).st_size);
  const auto refuse = [&] {
    fail(ExitCode::refused_input, name, ": is larger than the ", human_bytes(max_bytes),
         " allowed for such a file");
  };
  if (size > max_bytes) refuse();
  std::string text;
  text.reserve(size + 1);
  // The size may change meanwhile (or be 0, under /proc), so the end of the file decides.
  for (std::array<char, 1 << 16> chunk;;) {
    const ssize_t count = ::read(file.get(), chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ExitCode::io, name, ": cannot be read: ", std::strerror(errno));
    if (count == 0) return text;
    text.append(chunk.data(), static_cast<size_t>(count));
    if (text.size() > max_bytes) refuse();
  }
}

std::string shown_text(std::string_view text, size_t max_bytes) {
  std::string shown(text.substr(0, max_bytes));
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return shown;
}

}  // namespace isogrid
