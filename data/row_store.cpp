#include "data/row_store.h"

#include <algorithm>

#include "core/error.h"
#include "core/hash.h"
#include "data/kd_rows.h"

namespace isogrid {
namespace {

std::string hash_of_rows(const std::vector<std::shared_ptr<const ExampleFile>>& files,
                         const std::vector<RowPiece>& pieces,
                         const std::vector<uint64_t>& row_ends) {
  static_assert(sizeof(RowPiece) == 16, "hashed as it lies in memory, so without gaps");
  Sha256 hash;
  for (const auto& file : files) {
    const int32_t closing_id = file->closing_id();
    hash.update(std::as_bytes(std::span(file->content_hash())));
    hash.update(std::as_bytes(std::span(&closing_id, 1)));
  }
  hash.update(std::as_bytes(std::span(pieces)));
  hash.update(std::as_bytes(std::span(row_ends)));
  return to_hex(hash.finish());
}

}  // namespace

RowStore::RowStore(std::vector<std::shared_ptr<const ExampleFile>> files,
                   std::vector<RowPiece> pieces, std::vector<uint64_t> row_ends)
    : files_(std::move(files)), pieces_(std::move(pieces)), row_ends_(std::move(row_ends)) {
  first_of_file_.push_back(0);
  for (const auto& file : files_)
    first_of_file_.push_back(first_of_file_.back() + static_cast<uint64_t>(file->examples()));
  for (const RowPiece& piece : pieces_) {
    const Located at = piece.example < first_of_file_.back() ? locate(piece.example) : Located{};
    if (at.file == nullptr || piece.tokens == 0 ||
        uint64_t{piece.begin} + piece.tokens > at.file->words(at.index).size())
      fail(ExitCode::internal, "a row holds tokens that example ", piece.example, " has not");
    tokens_ += piece.tokens;
    label_tokens_ += labels_in(piece);
  }
  if (!std::is_sorted(row_ends_.begin(), row_ends_.end()) ||
      (row_ends_.empty() ? 0 : row_ends_.back()) != pieces_.size())
    fail(ExitCode::internal, "the rows do not add up to their pieces");
  fingerprint_ = hash_of_rows(files_, pieces_, row_ends_);
}

RowStore::RowStore(const RowStore& rows, std::shared_ptr<const TeacherRows> teacher)
    : RowStore(rows) {
  teacher_ = std::move(teacher);
}

RowStore::Located RowStore::locate(uint64_t example) const {
  const auto next = std::upper_bound(first_of_file_.begin(), first_of_file_.end(), example);
  const auto file = static_cast<size_t>(next - first_of_file_.begin()) - 1;
  return {files_[file].get(), static_cast<int64_t>(example - first_of_file_[file])};
}

std::span<const uint32_t> RowStore::words(const RowPiece& piece) const {
  const Located at = locate(piece.example);
  return at.file->words(at.index).subspan(piece.begin, piece.tokens);
}

int32_t RowStore::closing_id(const RowPiece& piece) const {
  return locate(piece.example).file->closing_id();
}

// Labels are what follows: the first token of a document is nobody's.
int64_t RowStore::labels_in(const RowPiece& piece) const {
  const auto document = words(piece);
  return std::count_if(document.begin() + 1, document.end(), TokenWord::has_label);
}

std::span<const RowPiece> RowStore::pieces(int64_t row) const {
  const auto i = static_cast<size_t>(row);
  const uint64_t begin = i == 0 ? 0 : row_ends_[i - 1];
  return std::span(pieces_).subspan(begin, row_ends_[i] - begin);
}

int64_t RowStore::row_tokens(int64_t row) const {
  int64_t sum = 0;
  for (const RowPiece& piece : pieces(row)) sum += piece.tokens;
  return sum;
}

int64_t RowStore::row_label_tokens(int64_t row) const {
  int64_t sum = 0;
  for (const RowPiece& piece : pieces(row)) sum += labels_in(piece);
  return sum;
}

void RowStore::append_row(int64_t row, Batch& batch) const {
  for (const RowPiece& piece : pieces(row)) {
    const Located at = locate(piece.example);
    const auto words = at.file->words(at.index).subspan(piece.begin, piece.tokens);
    for (size_t i = 0; i < words.size(); ++i) {
      const int64_t label =
          i + 1 < words.size() ? TokenWord::label(words[i + 1], at.file->closing_id()) : kNoLabel;
      if (label != kNoLabel) batch.label_rows.push_back(batch.tokens());
      batch.input_ids.push_back(TokenWord::id(words[i]));
      batch.labels.push_back(label);
    }
    batch.document_ends.push_back(batch.tokens());
    batch.sample_ids.push_back(piece.example);
    if (!teacher_) continue;
    if (!batch.teacher) batch.teacher.emplace();
    teacher_->append(static_cast<size_t>(&piece - pieces_.data()), *batch.teacher);
  }
}

std::vector<int64_t> RowStore::input_ids(uint64_t example) const {
  const Located at = locate(example);
  std::vector<int64_t> ids;
  for (const uint32_t word : at.file->words(at.index)) ids.push_back(TokenWord::id(word));
  return ids;
}

std::vector<int64_t> RowStore::labels(uint64_t example) const {
  const Located at = locate(example);
  std::vector<int64_t> labels;
  for (const uint32_t word : at.file->words(at.index))
    labels.push_back(TokenWord::label(word, at.file->closing_id()));
  return labels;
}

std::string RowStore::place(uint64_t example) const {
  const Located at = locate(example);
  const RecordPlace place = at.file->place(at.index);
  const std::vector<std::string>& names = at.file->file_names();
  return concat(place.file < names.size() ? names[place.file] : std::string("?"), ":", place.line);
}

}  // namespace isogrid
