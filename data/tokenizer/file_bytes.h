#pragma once
#include <filesystem>
#include <span>
#include <string>

namespace isogrid {

/// The bytes of a regular file of at most `limit` bytes, read whole. Never blocks on a FIFO or
/// device: what is not a regular file is refused.
class FileBytes {
 public:
  FileBytes(const std::filesystem::path& path, size_t limit);
  std::span<const char> bytes() const { return {text_.data(), text_.size()}; }
  std::string_view text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace isogrid
