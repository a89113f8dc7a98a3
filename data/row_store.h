#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/batch.h"
#include "data/example_file.h"

namespace isogrid {

/// A run of one example's tokens: the whole of it, but for documents cut into blocks.
struct RowPiece {
  uint64_t example = 0;  // numbered through all datasets
  uint32_t begin = 0;
  uint32_t tokens = 0;
};

class TeacherRows;

/// The rows a run is fed with, before they are shuffled: which examples stand together in each.
/// Order and number of rows are settled when it is made; the tokens stay in their files.
class RowStore {
 public:
  /// `row_ends`: cumulative number of pieces. Every piece must lie inside its example (70).
  RowStore(std::vector<std::shared_ptr<const ExampleFile>> files, std::vector<RowPiece> pieces,
           std::vector<uint64_t> row_ends);
  /// The same rows with what a teacher holds likely in them.
  RowStore(const RowStore& rows, std::shared_ptr<const TeacherRows> teacher);

  const TeacherRows* teacher() const { return teacher_.get(); }
  int64_t rows() const { return static_cast<int64_t>(row_ends_.size()); }
  int64_t tokens() const { return tokens_; }
  int64_t label_tokens() const { return label_tokens_; }
  int64_t documents() const { return static_cast<int64_t>(pieces_.size()); }
  std::span<const RowPiece> pieces(int64_t row) const;
  /// The piece's tokens as TokenWords, and what TokenWord::kCloses stands for in them.
  std::span<const uint32_t> words(const RowPiece& piece) const;
  int32_t closing_id(const RowPiece& piece) const;
  int64_t row_tokens(int64_t row) const;
  int64_t row_label_tokens(int64_t row) const;
  /// Lays the row's documents behind those of `batch`, labels shifted, and their teacher's words.
  void append_row(int64_t row, Batch& batch) const;

  /// One example as it was encoded, before packing: labels not shifted.
  int64_t examples() const { return static_cast<int64_t>(first_of_file_.back()); }
  std::vector<int64_t> input_ids(uint64_t example) const;
  std::vector<int64_t> labels(uint64_t example) const;
  /// The line its record begins at: "file:line", the file's name as the dataset gives it.
  std::string place(uint64_t example) const;

  /// SHA-256 over everything a row is made of: equal for equal rows, whatever files they came from.
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  struct Located {
    const ExampleFile* file;
    int64_t index;
  };
  Located locate(uint64_t example) const;
  int64_t labels_in(const RowPiece& piece) const;

  std::vector<std::shared_ptr<const ExampleFile>> files_;
  std::vector<uint64_t> first_of_file_;  // and one past the last example
  std::vector<RowPiece> pieces_;
  std::vector<uint64_t> row_ends_;
  int64_t tokens_ = 0;
  int64_t label_tokens_ = 0;
  std::string fingerprint_;
  std::shared_ptr<const TeacherRows> teacher_;
};

}  // namespace isogrid
