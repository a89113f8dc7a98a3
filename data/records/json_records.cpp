// Records of JSON: a line each, or the elements of one array, or values one after another.
#include <algorithm>

#include "core/error.h"
#include "core/format.h"
#include "core/json_reader.h"
#include "data/records/record_source.h"

namespace isogrid {
namespace {

constexpr std::string_view kJsonSpace = " \t\r\n";
constexpr size_t kMostColumns = 64;

bool is_blank(std::string_view text) {
  return text.find_first_not_of(kJsonSpace) == std::string_view::npos;
}

/// Where the string whose opening quote is at `at` ends, one past its closing quote.
size_t string_end(std::string_view text, size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '"') return at + 1;
    if (text[at] == '\\') ++at;  // and what is escaped
  }
  return std::string_view::npos;
}

/// One past the value at `at`, told by brackets and quotes alone; npos when the text ends first.
size_t value_end(std::string_view text, size_t at) {
  size_t depth = 0;
  while (at < text.size()) {
    switch (text[at]) {
      case '"':
        at = string_end(text, at);
        if (at == std::string_view::npos || depth == 0) return at;
        continue;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        if (depth == 0) return at;
        if (--depth == 0) return at + 1;
        break;
      case ',':
      case ' ':
      case '\t':
      case '\r':
      case '\n':
        if (depth == 0) return at;
        break;
      default:
        break;
    }
    ++at;
  }
  return depth == 0 ? at : std::string_view::npos;
}

/// How a cut-out record is read, whatever it was cut from.
class JsonSource : public RecordSource {
 public:
  explicit JsonSource(std::string name) : name_(std::move(name)) {}

  void read(const RawRecord& raw, Record& record) const override {
    record.begin(name_, raw.line);
    JsonReader reader = reader_of(raw);
    reader.begin_object();
    for (std::string_view key; reader.next_key(key);) {
      Cell* cell = record.slot(key);
      if (cell == nullptr) {
        reader.skip();
        continue;
      }
      if (cell->kind != Cell::Kind::absent) reader.refuse("this key appears twice");
      read_cell(raw, reader, *cell);
    }
    reader.finish();
  }

  std::vector<std::string> columns(const RawRecord& raw) const override {
    std::vector<std::string> names;
    JsonReader reader = reader_of(raw);
    reader.begin_object();
    for (std::string_view key; reader.next_key(key); reader.skip())
      if (names.size() < kMostColumns) names.emplace_back(key);
    return names;
  }

 protected:
  const std::string& name() const { return name_; }

 private:
  JsonReader reader_of(const RawRecord& raw) const {
    if (raw.text.size() > kLongestRecord)
      fail(ExitCode::refused_input, name_, ":", raw.line, ": a record of ",
           human_bytes(raw.text.size()), "; allowed are ", human_bytes(kLongestRecord));
    return JsonReader(raw.text, name_, kDeepestRecord, raw.line);
  }

  static void read_cell(const RawRecord& raw, JsonReader& reader, Cell& cell) {
    const JsonKind kind = reader.peek();
    if (kind == JsonKind::string) {
      cell.kind = Cell::Kind::text;
      cell.value = reader.string();
    } else if (kind == JsonKind::null) {
      cell.kind = Cell::Kind::null;
      reader.null();
    } else {
      cell.kind = Cell::Kind::json;
      const size_t begin = reader.place();
      reader.skip();
      cell.value = raw.text.substr(begin, reader.place() - begin);
      const std::string_view before = raw.text.substr(0, begin);
      cell.line = raw.line + static_cast<uint64_t>(std::count(before.begin(), before.end(), '\n'));
    }
  }

  std::string name_;
};

class JsonLines : public JsonSource {
 public:
  JsonLines(std::string_view bytes, std::string name)
      : JsonSource(std::move(name)), lines_(bytes) {}

  bool next(RawRecord& raw) override {
    while (lines_.next(raw))
      if (!is_blank(raw.text)) return true;
    return false;
  }
  uint64_t consumed() const override { return lines_.consumed(); }

 private:
  LineCutter lines_;
};

/// The elements of an array, or without brackets and commas values that follow each other.
class JsonValues : public JsonSource {
 public:
  JsonValues(std::string_view bytes, std::string name, bool in_array)
      : JsonSource(std::move(name)), bytes_(bytes), in_array_(in_array) {
    if (in_array_) position_ = skip_space(0) + 1;
  }

  bool next(RawRecord& raw) override {
    if (ended_) return false;
    size_t begin = skip_space(position_);
    if (in_array_) {
      if (begin == bytes_.size()) refuse(begin, "the file ends inside the array; ']' is missing");
      if (bytes_[begin] == ']') return finish(begin + 1);
      if (!first_) {
        if (bytes_[begin] != ',') refuse(begin, "',' or ']' is missing here");
        begin = skip_space(begin + 1);
      }
      first_ = false;
    } else if (begin == bytes_.size()) {
      return false;
    }
    const size_t end = value_end(bytes_, begin);
    if (end == std::string_view::npos)
      refuse(begin, "this record never ends: a quote or a bracket is missing");
    if (end == begin) refuse(begin, "a record is missing here");
    raw = {.text = bytes_.substr(begin, end - begin), .line = line_at(begin)};
    position_ = end;
    return true;
  }
  uint64_t consumed() const override { return position_; }

 private:
  bool finish(size_t after) {
    ended_ = true;
    position_ = skip_space(after);
    if (position_ != bytes_.size()) refuse(position_, "there is something behind the array");
    return false;
  }
  size_t skip_space(size_t at) const {
    return std::min(bytes_.find_first_not_of(kJsonSpace, at), bytes_.size());
  }
  /// Places are asked for in order, so each byte is looked at once.
  uint64_t line_at(size_t position) {
    line_ += static_cast<uint64_t>(
        std::count(bytes_.begin() + counted_, bytes_.begin() + position, '\n'));
    counted_ = position;
    return line_;
  }
  [[noreturn]] void refuse(size_t position, const char* message) {
    fail(ExitCode::refused_input, name(), ":", line_at(position), ": ", message);
  }

  std::string_view bytes_;
  bool in_array_;
  bool first_ = true;
  bool ended_ = false;
  size_t position_ = 0;
  size_t counted_ = 0;
  uint64_t line_ = 1;
};

}  // namespace

std::unique_ptr<RecordSource> open_json_records(std::string_view bytes, std::string name) {
  bytes = without_byte_order_mark(bytes);
  const size_t start = bytes.find_first_not_of(kJsonSpace);
  if (start == std::string_view::npos) return std::make_unique<JsonLines>(bytes, std::move(name));
  if (bytes[start] == '[')
    return std::make_unique<JsonValues>(bytes, std::move(name), /*in_array=*/true);
  // A record a line keeps a broken record to itself; one spread over lines has no such border.
  const size_t line_end = std::min(bytes.find('\n', start), bytes.size());
  const bool fits_line = value_end(bytes.substr(0, line_end), start) != std::string_view::npos;
  const std::string_view rest = bytes.substr(start, line_end - start);
  if (fits_line || rest.find_first_not_of("{ \t\r") != std::string_view::npos)
    return std::make_unique<JsonLines>(bytes, std::move(name));
  return std::make_unique<JsonValues>(bytes, std::move(name), /*in_array=*/false);
}

}  // namespace isogrid
