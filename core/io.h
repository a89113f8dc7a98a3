#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace isogrid {

using ByteSpan = std::span<const std::byte>;

inline ByteSpan as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view as_text(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Owns one file descriptor; -1 is none.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  int get() const { return fd_; }
  int release();
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Opens an existing regular file for reading, without ever waiting on a FIFO.
/// Missing or unreadable: exit code 66. A directory, FIFO, socket or device: 65.
FileDescriptor open_regular_file(const std::string& path);

/// The same check for a descriptor somebody else opened; `name` is what the user knows it by.
void require_regular_file(const FileDescriptor& file, const std::string& name);

/// A whole file in memory, its pages shared with the page cache. The mapping is private and
/// copy-on-write: whoever writes into it changes his own copy, never the file.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  MappedFile(const FileDescriptor& file, std::string name);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  ByteSpan bytes() const { return {data_, size_}; }
  const std::string& name() const { return name_; }

 private:
  void map(const FileDescriptor& file);

  std::string name_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// The whole text of a regular file; more than `max_bytes` is refused (65).
std::string read_text_file(const std::string& path, uint64_t max_bytes);
std::string read_text_file(const FileDescriptor& file, const std::string& name, uint64_t max_bytes);

/// A stranger's text fit for a message: short, and without characters that steer a terminal.
std::string shown_text(std::string_view text, size_t max_bytes = 80);

}  // namespace isogrid
