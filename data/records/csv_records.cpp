// Records of CSV (RFC 4180): the first one names the columns; quoted fields may hold commas, line
// ends and doubled quotes.
#include <algorithm>

#include "core/error.h"
#include "core/format.h"
#include "data/records/record_source.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

/// Walks over one record; hands each field to `take` with its quotes undone.
/// Returns one past the record's line end. Malformed quoting gives a reason in `problem`.
template <typename Take>
size_t walk_record(std::string_view text, size_t at, std::string& problem, Take take) {
  std::string field;
  for (;;) {
    field.clear();
    if (at < text.size() && text[at] == '"') {
      for (++at;; ++at) {
        const size_t quote = text.find('"', at);
        if (quote == std::string_view::npos) {
          problem = "a quoted field never ends";
          return text.size();
        }
        field.append(text.substr(at, quote - at));
        at = quote + 1;
        if (at >= text.size() || text[at] != '"') break;
        field += '"';
      }
    }
    const size_t end = std::min(text.find_first_of(",\n", at), text.size());
    std::string_view bare = text.substr(at, end - at);
    if ((end == text.size() || text[end] == '\n') && bare.ends_with('\r')) bare.remove_suffix(1);
    if (!bare.empty() && at > 0 && text[at - 1] == '"' && problem.empty())
      problem = "a field goes on behind its closing quote";
    field.append(bare);
    take(field);
    if (end == text.size()) return end;
    at = end + 1;
    if (text[end] == '\n') return at;
  }
}

class CsvSource : public RecordSource {
 public:
  CsvSource(std::string_view bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {
    RawRecord header;
    std::string problem;
    if (!next(header)) return;
    walk_record(header.text, 0, problem,
                [&](const std::string& field) { header_.push_back(field); });
    if (!problem.empty() || utf8_valid_until(header.text) != header.text.size())
      fail(ExitCode::refused_input, name_,
           ":1: the line of column names: ", problem.empty() ? "it is no UTF-8" : problem);
  }

  bool next(RawRecord& raw) override {
    for (;;) {
      if (position_ >= bytes_.size()) return false;
      std::string ignored;
      const size_t begin = position_;
      position_ = walk_record(bytes_, begin, ignored, [](const std::string&) {});
      const std::string_view text = bytes_.substr(begin, position_ - begin);
      raw = {.text = text, .line = line_};
      line_ += static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n'));
      if (text.find_first_not_of("\r\n") != std::string_view::npos) return true;
    }
  }
  uint64_t consumed() const override { return position_; }

  void read(const RawRecord& raw, Record& record) const override {
    record.begin(name_, raw.line);
    if (raw.text.size() > kLongestRecord)
      refuse(raw, concat("a record of ", human_bytes(raw.text.size()), "; allowed are ",
                         human_bytes(kLongestRecord)));
    if (utf8_valid_until(raw.text) != raw.text.size()) refuse(raw, "it is no UTF-8");
    std::string problem;
    size_t column = 0;
    walk_record(raw.text, 0, problem, [&](const std::string& field) {
      Cell* cell = column < header_.size() ? record.slot(header_[column]) : nullptr;
      ++column;
      if (cell == nullptr) return;
      // As the peer's reader has it: an empty field is no value.
      cell->kind = field.empty() ? Cell::Kind::null : Cell::Kind::text;
      cell->value = field;
      cell->line = raw.line;
    });
    if (!problem.empty()) refuse(raw, problem);
    if (column != header_.size())
      refuse(raw, concat("it has ", column, " fields; the first line names ", header_.size()));
  }

  std::vector<std::string> columns(const RawRecord&) const override { return header_; }

 private:
  [[noreturn]] void refuse(const RawRecord& raw, const std::string& why) const {
    fail(ExitCode::refused_input, name_, ":", raw.line, ": ", why);
  }

  std::string_view bytes_;
  std::string name_;
  std::vector<std::string> header_;
  size_t position_ = 0;
  uint64_t line_ = 1;
};

}  // namespace

std::unique_ptr<RecordSource> open_csv_records(std::string_view bytes, std::string name) {
  return std::make_unique<CsvSource>(without_byte_order_mark(bytes), std::move(name));
}

}  // namespace isogrid
