#pragma once
#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "core/hash.h"
#include "core/io.h"

namespace isogrid {

/// Every call by which we change a disk, one function each, with the kernel's own contract:
/// -1 and errno on failure. Tests derive from it and let the n-th call fail.
class IoCalls {
 public:
  virtual ~IoCalls() = default;
  virtual int open(int directory, const char* name, int flags, mode_t mode);
  virtual int fallocate(int fd, uint64_t size);
  virtual ssize_t write(int fd, const void* data, size_t size);
  virtual int fsync(int fd);
  virtual int close(int fd);
  virtual int rename(int directory, const char* from, const char* to);
  virtual int rename_no_replace(int directory, const char* from, const char* to);
  virtual int mkdir(int directory, const char* name, mode_t mode);
  virtual int unlink(int directory, const char* name, int flags);
  virtual int truncate(int fd, uint64_t size);
  virtual int flock(int fd, int operation);
  virtual int64_t free_bytes(int fd);  // -1: the file system does not say
  static IoCalls& system();
};

/// Repeats a call that a signal interrupted, but not for ever. Not for close: its descriptor is
/// gone either way.
template <typename Call>
auto patiently(Call call) {
  constexpr int kMaxInterrupts = 1000;
  auto result = call();
  for (int i = 0; result == -1 && errno == EINTR && i < kMaxInterrupts; ++i) result = call();
  return result;
}

/// A handle on a directory, so that names below it cannot be redirected under our feet.
class OutputDirectory {
 public:
  explicit OutputDirectory(const std::string& path, IoCalls& io = IoCalls::system());
  /// The folder `name` in `parent`; a link of that name is refused.
  OutputDirectory(const OutputDirectory& parent, const std::string& name);
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;
  ~OutputDirectory();
  int fd() const { return fd_; }
  const std::string& path() const { return path_; }
  IoCalls& io() const { return io_; }
  std::string shown(const std::string& name) const;  // path/name, for messages

  void sync() const;
  void make(const std::string& name) const;
  /// Fails where `to` exists already; both names are relative to this folder.
  void move(const std::string& from, const std::string& to) const;
  /// Unlinks a file or a whole folder without following a link. False: something is left.
  bool remove(const std::string& name) const;

 private:
  std::string path_;
  IoCalls& io_;
  int fd_ = -1;
};

/// Sixteen random hexadecimal digits: a name that nobody else takes.
std::string random_name_part();

/// Exit code 74 with what every failed write tells: path, cause, bytes needed (0 = not known) and
/// free. `fd` is any descriptor of that file system, or -1.
[[noreturn]] void fail_write(const std::string& path, const char* what, int cause, int fd,
                             uint64_t needed);

struct WrittenFile {
  uint64_t bytes = 0;
  Sha256Digest sha256{};
};

/// A new file written front to back and hashed as its bytes leave memory. Until finish() has
/// returned it is nobody's; dropped earlier, it is unlinked. Never a mapping: on a full disk that
/// ends in SIGBUS. Every failure is exit code 74 with path, cause, bytes needed and free.
class OutputFile {
 public:
  /// `expected_size` is reserved first, so that a full disk shows before the work; 0 = unknown.
  OutputFile(const OutputDirectory& directory, std::string name, uint64_t expected_size);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  void append(ByteSpan bytes);
  uint64_t bytes_so_far() const { return written_.bytes; }
  /// Flushes, fsyncs and closes.
  WrittenFile finish();

 private:
  void write_out(ByteSpan bytes);

  const OutputDirectory& directory_;
  std::string name_;
  uint64_t expected_size_;
  int fd_ = -1;
  bool finished_ = false;
  std::vector<std::byte> buffer_;
  Sha256 hash_;
  WrittenFile written_;
};

using FileProducer = std::function<void(OutputFile&)>;

/// A file to be written. The producer owns what it writes, so that it may run later.
struct FileToWrite {
  std::string name;
  uint64_t size = 0;  // announced, so that a full disk shows first; 0 = not known
  FileProducer produce;
};
FileToWrite text_file(std::string name, std::string text);

/// Replaces `path` as one event: temporary sibling, fsync, rename, fsync of the folder. Whatever
/// happens, the old or the new file is there whole. A link at `path` is replaced, not followed.
WrittenFile write_file_durably(const std::string& path, uint64_t expected_size,
                               const FileProducer& produce, IoCalls& io = IoCalls::system());
WrittenFile write_file_durably(const std::string& path, ByteSpan bytes,
                               IoCalls& io = IoCalls::system());

/// A file that only grows, at its end, for as long as it lives. What flush() has handed to the
/// kernel survives the end of the process; only sync() makes it survive the machine's. A failure is
/// exit code 74 and loses nothing: what is left goes out first with the next flush, so that a
/// caller who waits for space finds no torn line. After a crash the last line may be torn.
class AppendFile {
 public:
  AppendFile(const OutputDirectory& directory, std::string name);
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;
  ~AppendFile();

  void put(ByteSpan bytes) { pending_.insert(pending_.end(), bytes.begin(), bytes.end()); }
  void flush();
  void sync();

 private:
  const OutputDirectory& directory_;
  std::string name_;
  int fd_ = -1;
  int sync_error_ = 0;
  std::vector<std::byte> pending_;
};

/// mkdir -p, each new entry fsynced into its parent.
void make_directories(const std::string& path, IoCalls& io = IoCalls::system());

}  // namespace isogrid
