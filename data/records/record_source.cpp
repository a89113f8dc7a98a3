#include "data/records/record_source.h"

#include <algorithm>

#include "core/error.h"
#include "core/format.h"
#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

/// One record a line, the whole of it one column.
class TextSource : public RecordSource {
 public:
  TextSource(std::string_view bytes, std::string name) : lines_(bytes), name_(std::move(name)) {}

  bool next(RawRecord& raw) override { return lines_.next(raw); }
  uint64_t consumed() const override { return lines_.consumed(); }

  void read(const RawRecord& raw, Record& record) const override {
    record.begin(name_, raw.line);
    if (raw.text.size() > kLongestRecord)
      fail(ExitCode::refused_input, name_, ":", raw.line, ": a line of ",
           human_bytes(raw.text.size()), "; allowed are ", human_bytes(kLongestRecord));
    if (const size_t good = utf8_valid_until(raw.text); good < raw.text.size())
      fail(ExitCode::refused_input, name_, ":", raw.line, ":", good + 1, ": came byte ",
           int{static_cast<unsigned char>(raw.text[good])}, ", which is no UTF-8 here");
    Cell* cell = record.slot(kTextColumn);
    if (cell == nullptr) return;
    cell->kind = Cell::Kind::text;
    cell->value = raw.text;
    cell->line = raw.line;
  }

  std::vector<std::string> columns(const RawRecord&) const override {
    return {std::string(kTextColumn)};
  }

 private:
  LineCutter lines_;
  std::string name_;
};

}  // namespace

bool LineCutter::next(RawRecord& line) {
  if (position_ >= bytes_.size()) return false;
  const size_t end = std::min(bytes_.find('\n', position_), bytes_.size());
  std::string_view text = bytes_.substr(position_, end - position_);
  if (text.ends_with('\r')) text.remove_suffix(1);
  position_ = std::min(end + 1, bytes_.size());
  line = {.text = text, .line = ++line_};
  return true;
}

std::string_view without_byte_order_mark(std::string_view bytes) {
  return bytes.starts_with("\xEF\xBB\xBF") ? bytes.substr(3) : bytes;
}

std::unique_ptr<RecordSource> open_text_records(std::string_view bytes, std::string name) {
  return std::make_unique<TextSource>(without_byte_order_mark(bytes), std::move(name));
}

std::unique_ptr<RecordSource> open_records(FileType type, std::string_view bytes,
                                           std::string name) {
  switch (type) {
    case FileType::json:
      return open_json_records(bytes, std::move(name));
    case FileType::csv:
      return open_csv_records(bytes, std::move(name));
    case FileType::text:
      break;
  }
  return open_text_records(bytes, std::move(name));
}

}  // namespace isogrid
