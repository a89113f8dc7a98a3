#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/example_file.h"
#include "data/row_store.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {

/// Examples written by hand, and rows of them.
class ExampleStore {
 public:
  int32_t closing_id = 0;

  void add(const std::vector<int64_t>& ids, const std::vector<int64_t>& labels) {
    std::vector<uint32_t> words;
    for (size_t i = 0; i < ids.size(); ++i)
      words.push_back(TokenWord::make(static_cast<int32_t>(ids[i]), labels[i] != kNoLabel));
    add_words(std::move(words));
  }
  void add_words(std::vector<uint32_t> words) { examples_.push_back(std::move(words)); }

  std::shared_ptr<const ExampleFile> file() {
    const std::string path = folder_ / "examples.rows";
    const Sha256Digest key{};
    write_file_durably(path, 0, [&](OutputFile& output) {
      ExampleWriter writer(output);
      uint64_t line = 0;
      for (const auto& words : examples_) writer.add(words, {.file = 0, .line = ++line});
      writer.finish(key, closing_id, {});
    });
    std::string why;
    return ExampleFile::open(path, key, {"examples.json"}, why);
  }

  std::shared_ptr<const RowStore> rows(const std::vector<std::vector<uint64_t>>& rows) {
    std::vector<RowPiece> pieces;
    std::vector<uint64_t> ends;
    for (const auto& row : rows) {
      for (const uint64_t example : row)
        pieces.push_back({.example = example,
                          .begin = 0,
                          .tokens = static_cast<uint32_t>(examples_[example].size())});
      ends.push_back(pieces.size());
    }
    return std::make_shared<const RowStore>(std::vector{file()}, pieces, ends);
  }

  std::shared_ptr<const RowStore> one_each() {
    std::vector<std::vector<uint64_t>> all;
    for (uint64_t i = 0; i < examples_.size(); ++i) all.push_back({i});
    return rows(all);
  }

 private:
  TemporaryDirectory folder_;
  std::vector<std::vector<uint32_t>> examples_;
};

}  // namespace isogrid
