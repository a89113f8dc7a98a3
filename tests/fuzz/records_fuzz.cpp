// A data file from a stranger, in every type and every form of record: cut, read, laid out as a
// conversation; refused with exit code 65, or used. The first byte chooses type and form.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/error.h"
#include "data/dataset_entry.h"
#include "data/formats/formats.h"
#include "data/records/record_source.h"
#include "data/templates/turns.h"

namespace {

using namespace isogrid;

DatasetEntry entry_of(unsigned choice) {
  DatasetEntry entry;
  entry.columns.history = "history";
  entry.columns.system = "system";
  entry.columns.tools = "tools";
  entry.format = choice == 0   ? RecordFormat::alpaca
                 : choice == 1 ? RecordFormat::sharegpt
                               : RecordFormat::openai;
  if (entry.format == RecordFormat::openai)
    entry.tags = {.role_tag = "role",
                  .content_tag = "content",
                  .user_tag = "user",
                  .assistant_tag = "assistant",
                  .observation_tag = "tool",
                  .function_tag = "call",
                  .system_tag = "system"};
  return entry;
}

void use(const Example& example, const ChatTemplate& layout) {
  TurnOptions options;
  options.tools = example.tools;
  const EncodedTurns encoded = encode_turns(layout, example.messages, options);
  if (encoded.turns.empty()) std::abort();
}

void must_be_refused_input(const Error& error) {
  if (error.code() != ExitCode::refused_input) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const unsigned choice = data[0];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const FileType types[] = {FileType::json, FileType::csv, FileType::text};
  const DatasetEntry entry = entry_of(choice / 3 % 3);
  static const ChatTemplate& layout = chat_template("qwen3");
  try {
    const auto source = open_records(types[choice % 3], bytes, "f");
    Record record(entry.column_names());
    Example example;
    uint64_t consumed = 0, line = 0;
    for (RawRecord raw; source->next(raw);) {
      if (source->consumed() < consumed || source->consumed() > bytes.size() || raw.line < line)
        std::abort();
      consumed = source->consumed();
      line = raw.line;
      try {
        source->read(raw, record);
        read_conversation(entry, record, example);
        use(example, layout);
      } catch (const Error& error) {
        must_be_refused_input(error);
      }
    }
  } catch (const Error& error) {
    must_be_refused_input(error);
  }
  return 0;
}
