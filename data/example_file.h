#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/hash.h"
#include "core/io.h"
#include "core/io_writer.h"
#include "data/batch.h"
#include "data/encode_counts.h"

namespace isogrid {

/// One token and what it is trained to be, in four bytes: nearly always itself or nothing. Under
/// layouts that end an answer by the next question, that question's first token is trained to be
/// the closing token.
class TokenWord {
 public:
  static constexpr uint32_t kTrained = uint32_t{1} << 31;
  static constexpr uint32_t kCloses = uint32_t{1} << 30;
  static constexpr int32_t kLargestId = (1 << 30) - 1;

  static uint32_t make(int32_t id, bool trained) {
    return static_cast<uint32_t>(id) | (trained ? kTrained : 0);
  }
  static int64_t id(uint32_t word) { return word & ~(kTrained | kCloses); }
  static bool has_label(uint32_t word) { return (word & (kTrained | kCloses)) != 0; }
  static int64_t label(uint32_t word, int32_t closing_id) {
    if ((word & kCloses) != 0) return closing_id;
    return (word & kTrained) != 0 ? id(word) : kNoLabel;
  }
};

/// Where a record stands in the files of its dataset.
struct RecordPlace {
  uint32_t file = 0;  // which of them
  uint64_t line = 0;
};

/// The examples of one dataset, tokenised: a file that is mapped, shared by processes, and made
/// anew when what it was made from changes.
class ExampleFile {
 public:
  /// Empty when there is no such file, when it is not whole, or was made for another key; `why`
  /// says what is wrong with a file that is there. Every byte is checked against its hash.
  /// `file_names`: what places are shown with; a cache may be older than the files' present names.
  static std::shared_ptr<const ExampleFile> open(const std::string& path, const Sha256Digest& key,
                                                 std::vector<std::string> file_names,
                                                 std::string& why);

  int64_t examples() const { return static_cast<int64_t>(ends_.size()); }
  int64_t tokens() const { return static_cast<int64_t>(words_.size()); }
  std::span<const uint32_t> words(int64_t example) const;
  RecordPlace place(int64_t example) const;
  int32_t closing_id() const { return closing_id_; }
  const EncodeCounts& counts() const { return counts_; }
  /// Of tokens, labels and borders; not of where they came from.
  const Sha256Digest& content_hash() const { return content_hash_; }
  const std::vector<std::string>& file_names() const { return file_names_; }

 private:
  explicit ExampleFile(const std::string& path) : mapped_(path) {}
  std::string read(const Sha256Digest& key);

  MappedFile mapped_;
  std::span<const uint32_t> words_;
  std::span<const uint64_t> ends_;
  std::span<const uint64_t> places_;
  int32_t closing_id_ = 0;
  EncodeCounts counts_;
  Sha256Digest content_hash_{};
  std::vector<std::string> file_names_;
};

/// Writes an ExampleFile front to back.
class ExampleWriter {
 public:
  explicit ExampleWriter(OutputFile& file) : file_(file) {}
  void add(std::span<const uint32_t> words, const RecordPlace& place);
  void finish(const Sha256Digest& key, int32_t closing_id, const EncodeCounts& counts);

 private:
  void append(ByteSpan bytes);

  OutputFile& file_;
  Sha256 hash_;
  uint64_t tokens_ = 0;
  std::vector<uint64_t> ends_;
  std::vector<uint64_t> places_;
};

}  // namespace isogrid
