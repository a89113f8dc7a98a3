#include "data/formats/formats.h"

#include "core/error.h"
#include "core/json_reader.h"

namespace isogrid {
namespace {

const std::string kNothing;

[[noreturn]] void refuse_column(const std::string& column, const char* came, const char* allowed) {
  fail(ExitCode::refused_input, "column '", column, "' ", came, "; ", allowed);
}

}  // namespace

const std::string& text_if_any(const Record& record, const std::string& column) {
  const Cell& cell = record.cell(column);
  if (cell.kind == Cell::Kind::text) return cell.value;
  if (cell.kind == Cell::Kind::json)
    refuse_column(column, "holds something else than text", "write it as a string");
  return kNothing;
}

const std::string& text_of(const Record& record, const std::string& column) {
  if (!column.empty() && record.cell(column).kind == Cell::Kind::absent)
    refuse_column(column, "is missing",
                  "give every record one (it may be empty), or name the columns there are under "
                  "\"columns\" in dataset_info.json");
  return text_if_any(record, column);
}

const std::string& json_if_any(const Record& record, const std::string& column) {
  const Cell& cell = record.cell(column);
  const bool is_there = cell.kind == Cell::Kind::text || cell.kind == Cell::Kind::json;
  return is_there ? cell.value : kNothing;
}

void read_conversation(const DatasetEntry& entry, const Record& record, Example& example) {
  example.clear();
  switch (entry.format) {
    case RecordFormat::alpaca:
      return read_alpaca(entry, record, example);
    case RecordFormat::sharegpt:
      return read_sharegpt(entry, record, example);
    case RecordFormat::openai:
      return read_openai(entry, record, example);
  }
}

void read_plain_text(const DatasetEntry& entry, const Record& record, Example& example) {
  example.clear();
  if (entry.format == RecordFormat::alpaca) {
    example.text = question_of(entry, record);
    return;
  }
  read_conversation(entry, record, example);
  const size_t first =
      !example.messages.empty() && example.messages.front().role == Speaker::system ? 1 : 0;
  std::string text = std::move(example.messages[first].content);
  example.clear();
  example.text = std::move(text);
}

}  // namespace isogrid
