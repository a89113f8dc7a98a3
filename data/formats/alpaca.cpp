// Records of a question and an answer, perhaps after earlier ones.
#include "core/error.h"
#include "core/json_reader.h"
#include "data/formats/formats.h"

namespace isogrid {
namespace {

void add_message(Example& example, Speaker role, std::string content) {
  example.messages.push_back(
      {.role = role, .content = std::move(content), .tool_calls = {}, .trained = {}});
}

/// A list of [question, answer] pairs.
void read_history(const Record& record, const std::string& column, Example& example) {
  const Cell& cell = record.cell(column);
  if (cell.kind != Cell::Kind::json && cell.kind != Cell::Kind::text) return;
  JsonReader reader(cell.value, record.file(), JsonReader::kMaxDepth, cell.line);
  reader.begin_array();
  while (reader.next_element()) {
    const size_t before = example.messages.size();
    reader.begin_array();
    while (reader.next_element()) {
      const bool is_question = (example.messages.size() - before) % 2 == 0;
      add_message(example, is_question ? Speaker::user : Speaker::assistant,
                  std::string(reader.string()));
    }
    if (example.messages.size() != before + 2)
      reader.refuse("column '", column, "': an entry is [question, answer]");
  }
  reader.finish();
}

}  // namespace

std::string question_of(const DatasetEntry& entry, const Record& record) {
  const std::string& prompt = text_of(record, entry.columns.prompt);
  // Columns that nobody wrote down may be missing here and there.
  const std::string& query = entry.is_guessed ? text_if_any(record, entry.columns.query)
                                              : text_of(record, entry.columns.query);
  return prompt + (!prompt.empty() && !query.empty() ? "\n" : "") + query;
}

void read_alpaca(const DatasetEntry& entry, const Record& record, Example& example) {
  const DatasetColumns& columns = entry.columns;
  if (const std::string& system = text_if_any(record, columns.system); !system.empty())
    add_message(example, Speaker::system, system);
  read_history(record, columns.history, example);
  add_message(example, Speaker::user, question_of(entry, record));
  const Cell& answer = record.cell(columns.response);
  if (answer.kind != Cell::Kind::text)
    fail(ExitCode::refused_input, "there is no answer to train on: column '",
         columns.response.empty() ? "response" : columns.response, "' ",
         answer.kind == Cell::Kind::json   ? "holds something else than text"
         : answer.kind == Cell::Kind::null ? "is null"
                                           : "is missing");
  add_message(example, Speaker::assistant, answer.value);
  example.tools = json_if_any(record, columns.tools);
}

}  // namespace isogrid
