#include "core/io_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/error.h"
#include "core/format.h"

namespace isogrid {
namespace {

constexpr size_t kWriteBuffer = 256 * 1024;

std::string free_space(int fd) {
  const int64_t bytes = fd < 0 ? -1 : IoCalls::system().free_bytes(fd);
  return bytes < 0 ? "unknown space" : human_bytes(static_cast<uint64_t>(bytes));
}

bool reservation_unsupported(int cause) {
  return cause == EOPNOTSUPP || cause == ENOSYS || cause == EINVAL;
}

/// The names in a folder other than itself and its parent; an unreadable folder seems empty.
std::vector<std::string> entries_of(int fd) {
  std::vector<std::string> names;
  DIR* listing = ::fdopendir(::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (listing == nullptr) return names;
  while (const dirent* entry = ::readdir(listing))
    if (const std::string_view name = entry->d_name; name != "." && name != "..")
      names.emplace_back(name);
  ::closedir(listing);
  return names;
}

}  // namespace

std::string random_name_part() {
  uint64_t value = 0;
  if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value)
    value = static_cast<uint64_t>(getpid());
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

void fail_write(const std::string& path, const char* what, int cause, int fd, uint64_t needed) {
  const std::string size = needed > 0 ? concat(human_bytes(needed), " needed, ") : "";
  fail(ExitCode::io, path, ": cannot be written, ", what, ": ", std::strerror(cause), "; ", size,
       free_space(fd), " free");
}

int IoCalls::open(int directory, const char* name, int flags, mode_t mode) {
  return ::openat(directory, name, flags, mode);
}
int IoCalls::fallocate(int fd, uint64_t size) {
  return ::fallocate(fd, 0, 0, static_cast<off_t>(size));
}
ssize_t IoCalls::write(int fd, const void* data, size_t size) { return ::write(fd, data, size); }
int IoCalls::fsync(int fd) { return ::fsync(fd); }
int IoCalls::close(int fd) { return ::close(fd); }
int IoCalls::rename(int directory, const char* from, const char* to) {
  return ::renameat(directory, from, directory, to);
}
int IoCalls::rename_no_replace(int directory, const char* from, const char* to) {
  return ::renameat2(directory, from, directory, to, RENAME_NOREPLACE);
}
int IoCalls::mkdir(int directory, const char* name, mode_t mode) {
  return ::mkdirat(directory, name, mode);
}
int IoCalls::unlink(int directory, const char* name, int flags) {
  return ::unlinkat(directory, name, flags);
}
int IoCalls::truncate(int fd, uint64_t size) { return ::ftruncate(fd, static_cast<off_t>(size)); }
int IoCalls::flock(int fd, int operation) { return ::flock(fd, operation); }
int64_t IoCalls::free_bytes(int fd) {
  struct statvfs status {};
  if (::fstatvfs(fd, &status) != 0) return -1;
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

IoCalls& IoCalls::system() {
  static IoCalls calls;
  return calls;
}

OutputDirectory::OutputDirectory(const std::string& path, IoCalls& io) : path_(path), io_(io) {
  fd_ = patiently(
      [&] { return io_.open(AT_FDCWD, path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (fd_ < 0) fail_write(path_, "open", errno, -1, 0);
}

OutputDirectory::OutputDirectory(const OutputDirectory& parent, const std::string& name)
    : path_(parent.shown(name)), io_(parent.io_) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  fd_ = patiently([&] { return io_.open(parent.fd_, name.c_str(), kFlags, 0); });
  if (fd_ < 0) fail_write(path_, "open", errno, parent.fd_, 0);
}

// Nothing was written through this handle, so its close has nothing to report.
OutputDirectory::~OutputDirectory() { io_.close(fd_); }

void OutputDirectory::sync() const {
  if (patiently([&] { return io_.fsync(fd_); }) == 0) return;
  // Some network file systems have no fsync of folders; their renames are durable by themselves.
  if (errno != EINVAL && errno != EOPNOTSUPP) fail_write(path_, "fsync", errno, fd_, 0);
}

std::string OutputDirectory::shown(const std::string& name) const {
  return (std::filesystem::path(path_) / name).string();
}

void OutputDirectory::make(const std::string& name) const {
  if (patiently([&] { return io_.mkdir(fd_, name.c_str(), 0777); }) != 0)
    fail_write(shown(name), "mkdir", errno, fd_, 0);
}

void OutputDirectory::move(const std::string& from, const std::string& to) const {
  if (patiently([&] { return io_.rename_no_replace(fd_, from.c_str(), to.c_str()); }) == 0) return;
  int cause = errno;
  if (cause == EINVAL || cause == ENOSYS || cause == EOPNOTSUPP) {
    // A file system without the flag: whoever may write here holds the lock, so looking is enough.
    struct stat status {};
    if (::fstatat(fd_, to.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
      fail_write(shown(to), "rename", EEXIST, fd_, 0);
    if (patiently([&] { return io_.rename(fd_, from.c_str(), to.c_str()); }) == 0) return;
    cause = errno;
  }
  fail_write(shown(to), "rename", cause, fd_, 0);
}

bool OutputDirectory::remove(const std::string& name) const {
  if (patiently([&] { return io_.unlink(fd_, name.c_str(), 0); }) == 0 || errno == ENOENT)
    return true;
  if (errno != EISDIR && errno != EPERM) return false;  // POSIX says EPERM for a folder
  try {
    const OutputDirectory folder(*this, name);
    for (const std::string& entry : entries_of(folder.fd_)) folder.remove(entry);
  } catch (const Error&) {
    return false;
  }
  return patiently([&] { return io_.unlink(fd_, name.c_str(), AT_REMOVEDIR); }) == 0;
}

OutputFile::OutputFile(const OutputDirectory& directory, std::string name, uint64_t expected_size)
    : directory_(directory), name_(std::move(name)), expected_size_(expected_size) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  IoCalls& io = directory_.io();
  buffer_.reserve(kWriteBuffer);
  fd_ = patiently([&] { return io.open(directory_.fd(), name_.c_str(), kFlags, 0666); });
  if (fd_ < 0) fail_write(directory_.shown(name_), "open", errno, directory_.fd(), expected_size_);
  if (expected_size_ == 0) return;
  if (patiently([&] { return io.fallocate(fd_, expected_size_); }) == 0) return;
  const int cause = errno;
  if (reservation_unsupported(cause)) return;
  io.close(fd_);  // the destructor does not run after a throw from here
  io.unlink(directory_.fd(), name_.c_str(), 0);
  fail_write(directory_.shown(name_), "fallocate", cause, directory_.fd(), expected_size_);
}

OutputFile::~OutputFile() {
  if (finished_) return;
  if (fd_ >= 0) directory_.io().close(fd_);
  directory_.io().unlink(directory_.fd(), name_.c_str(), 0);
}

void OutputFile::append(ByteSpan bytes) {
  written_.bytes += bytes.size();
  if (buffer_.size() + bytes.size() <= kWriteBuffer) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return;
  }
  write_out(buffer_);
  buffer_.clear();
  if (bytes.size() >= kWriteBuffer)
    write_out(bytes);
  else
    buffer_.assign(bytes.begin(), bytes.end());
}

void OutputFile::write_out(ByteSpan bytes) {
  constexpr size_t kPiece = 1 << 20;  // hashed and written while it is in the cache
  while (!bytes.empty()) {
    ByteSpan piece = bytes.first(std::min(bytes.size(), kPiece));
    bytes = bytes.subspan(piece.size());
    hash_.update(piece);
    while (!piece.empty()) {
      const ssize_t count =
          patiently([&] { return directory_.io().write(fd_, piece.data(), piece.size()); });
      if (count <= 0)
        fail_write(directory_.shown(name_), "write", count == 0 ? ENOSPC : errno, directory_.fd(),
                   std::max(expected_size_, written_.bytes));
      piece = piece.subspan(static_cast<size_t>(count));
    }
  }
}

WrittenFile OutputFile::finish() {
  IoCalls& io = directory_.io();
  const std::string path = directory_.shown(name_);
  write_out(buffer_);
  buffer_.clear();
  if (expected_size_ != 0 && written_.bytes != expected_size_)
    fail(ExitCode::internal, path, ": ", written_.bytes, " bytes written where ", expected_size_,
         " were announced");
  // A failed fsync is not repeated: the kernel may have dropped the pages it could not write.
  if (patiently([&] { return io.fsync(fd_); }) != 0)
    fail_write(path, "fsync", errno, directory_.fd(), written_.bytes);
  const int closed = io.close(std::exchange(fd_, -1));
  if (closed != 0 && errno != EINTR)
    fail_write(path, "close", errno, directory_.fd(), written_.bytes);
  finished_ = true;
  written_.sha256 = hash_.finish();
  return written_;
}

FileToWrite text_file(std::string name, std::string text) {
  const uint64_t size = text.size();
  return {std::move(name), size,
          [text = std::move(text)](OutputFile& file) { file.append(as_bytes(text)); }};
}

WrittenFile write_file_durably(const std::string& path, uint64_t expected_size,
                               const FileProducer& produce, IoCalls& io) {
  const std::filesystem::path target(path);
  const std::string name = target.filename().string();
  if (name.empty() || name == "." || name == "..")
    fail(ExitCode::io, "'", path, "': is no name for a file to write");
  const std::filesystem::path parent = target.parent_path();
  const OutputDirectory directory(parent.empty() ? "." : parent.string(), io);
  // NAME_MAX is 255 bytes; the target's name is only there for people.
  const std::string temporary = concat(".", name.substr(0, 200), ".tmp-", random_name_part());
  OutputFile file(directory, temporary, expected_size);
  produce(file);
  const WrittenFile written = file.finish();
  if (patiently([&] { return io.rename(directory.fd(), temporary.c_str(), name.c_str()); }) != 0) {
    const int cause = errno;
    io.unlink(directory.fd(), temporary.c_str(), 0);
    fail_write(path, "rename", cause, directory.fd(), written.bytes);
  }
  directory.sync();
  return written;
}

WrittenFile write_file_durably(const std::string& path, ByteSpan bytes, IoCalls& io) {
  return write_file_durably(
      path, bytes.size(), [&](OutputFile& file) { file.append(bytes); }, io);
}

AppendFile::AppendFile(const OutputDirectory& directory, std::string name)
    : directory_(directory), name_(std::move(name)) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  IoCalls& io = directory_.io();
  fd_ = patiently([&] { return io.open(directory_.fd(), name_.c_str(), kFlags, 0666); });
  if (fd_ < 0) fail_write(directory_.shown(name_), "open", errno, directory_.fd(), 0);
  try {
    directory_.sync();  // or a new file would be nameless after a loss of power
  } catch (...) {
    io.close(fd_);  // the destructor does not run after a throw from here
    throw;
  }
}

// What mattered was synced, and that reported its failure.
AppendFile::~AppendFile() { directory_.io().close(fd_); }

void AppendFile::flush() {
  size_t done = 0;
  while (done < pending_.size()) {
    const ssize_t count = patiently(
        [&] { return directory_.io().write(fd_, pending_.data() + done, pending_.size() - done); });
    if (count <= 0) {
      const int cause = count == 0 ? ENOSPC : errno;
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(done));
      fail_write(directory_.shown(name_), "write", cause, directory_.fd(), pending_.size());
    }
    done += static_cast<size_t>(count);
  }
  pending_.clear();
}

void AppendFile::sync() {
  flush();
  // As above: after a failure the pages may be gone, and a second fsync would not know.
  if (sync_error_ == 0 && patiently([&] { return directory_.io().fsync(fd_); }) != 0)
    sync_error_ = errno;
  if (sync_error_ != 0)
    fail_write(directory_.shown(name_), "fsync", sync_error_, directory_.fd(), 0);
}

void make_directories(const std::string& path, IoCalls& io) {
  const std::filesystem::path target(path);
  if (path.empty() || std::filesystem::is_directory(target)) return;
  const std::filesystem::path parent =
      target.has_filename() ? target.parent_path() : target.parent_path().parent_path();
  const std::string name =
      (target.has_filename() ? target : target.parent_path()).filename().string();
  make_directories(parent.string(), io);
  const OutputDirectory directory(parent.empty() ? "." : parent.string(), io);
  const int made = patiently([&] { return io.mkdir(directory.fd(), name.c_str(), 0777); });
  // Another process may have been faster; a file of that name is an error.
  if (made != 0 && !(errno == EEXIST && std::filesystem::is_directory(target)))
    fail_write(path, "mkdir", errno, directory.fd(), 0);
  directory.sync();
}

}  // namespace isogrid
