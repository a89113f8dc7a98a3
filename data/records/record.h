#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// One column of a record. `json` is an array, object, number, true or false as its text stands in
/// the file.
struct Cell {
  enum class Kind { absent, null, text, json } kind = Kind::absent;
  std::string value;
  uint64_t line = 0;  // where `value` begins, for messages about what is inside it
};

/// The columns a dataset asks for, of one record after another.
class Record {
 public:
  explicit Record(const std::vector<std::string>& columns) {
    for (const std::string& name : columns)
      if (!name.empty()) columns_.push_back({name, {}});
  }

  void begin(std::string_view file, uint64_t line) {
    file_ = file;
    line_ = line;
    for (Column& column : columns_) column.cell.kind = Cell::Kind::absent;
  }
  /// Null for a column nobody asked for.
  Cell* slot(std::string_view name) {
    for (Column& column : columns_)
      if (column.name == name) return &column.cell;
    return nullptr;
  }
  /// What a column holds; a column nobody asked for, or an unnamed one, is absent.
  const Cell& cell(std::string_view name) const {
    static const Cell absent;
    for (const Column& column : columns_)
      if (column.name == name) return column.cell;
    return absent;
  }
  const std::string& file() const { return file_; }
  uint64_t line() const { return line_; }

 private:
  struct Column {
    std::string name;
    Cell cell;
  };
  std::vector<Column> columns_;
  std::string file_;
  uint64_t line_ = 0;
};

}  // namespace isogrid
