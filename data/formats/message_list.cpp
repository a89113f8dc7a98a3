#include "data/formats/message_list.h"

#include "core/error.h"
#include "core/json_reader.h"

namespace isogrid {
namespace {

/// The value that begins here, as it stands in the text, with the white space behind it.
std::string raw_value(JsonReader& reader, std::string_view text) {
  const size_t begin = reader.place();
  reader.skip();
  return std::string(text.substr(begin, reader.place() - begin));
}

/// [{"type": "text", "text": "..."}, ...]
std::string joined_parts(JsonReader& reader) {
  std::string joined;
  reader.begin_array();
  while (reader.next_element()) {
    bool has_text = false;
    reader.begin_object();
    for (std::string_view key; reader.next_key(key);) {
      if (key == "text") {
        joined += reader.string();
        has_text = true;
      } else {
        reader.skip();
      }
    }
    if (!has_text) reader.refuse("a part of this message is no text; only text can be trained on");
  }
  return joined;
}

void read_content(JsonReader& reader, RawMessage& message) {
  switch (reader.peek()) {
    case JsonKind::null:
      return reader.null();
    case JsonKind::array:
      message.content = joined_parts(reader);
      return;
    default:
      message.content = reader.string();
  }
}

void read_calls(JsonReader& reader, std::string_view text, RawMessage& message) {
  if (reader.peek() == JsonKind::null) return reader.null();
  reader.begin_array();
  while (reader.next_element()) {
    std::string function;
    reader.begin_object();
    for (std::string_view key; reader.next_key(key);) {
      if (key == "function")
        function = raw_value(reader, text);
      else
        reader.skip();
    }
    if (function.empty()) reader.refuse("a tool call has no \"function\"");
    message.calls.push_back(std::move(function));
  }
}

void read_flag(JsonReader& reader, std::string_view key, RawMessage& message) {
  const JsonKind kind = reader.peek();
  if (kind == JsonKind::null) return reader.null();
  if (kind == JsonKind::boolean) {
    message.trained = reader.boolean();
    return;
  }
  const JsonNumber number = reader.number();
  const bool is_one =
      number.kind == JsonNumber::Kind::natural ? number.natural == 1 : number.real == 1.0;
  const bool is_zero =
      number.kind == JsonNumber::Kind::natural ? number.natural == 0 : number.real == 0.0;
  if (number.kind == JsonNumber::Kind::negative || (!is_one && !is_zero))
    reader.refuse("'", key, "' of a message is true, false, 1 or 0");
  message.trained = is_one;
}

RawMessage read_message(JsonReader& reader, std::string_view text, const DatasetTags& tags) {
  RawMessage message;
  bool has_role = false;
  reader.begin_object();
  for (std::string_view key; reader.next_key(key);) {
    if (key == tags.role_tag) {
      message.role = reader.string();
      has_role = true;
    } else if (key == tags.content_tag) {
      read_content(reader, message);
    } else if (key == "tool_calls") {
      read_calls(reader, text, message);
    } else if (key == "train" || key == "weight") {
      const std::string name(key);
      read_flag(reader, name, message);
    } else {
      reader.skip();
    }
  }
  if (!has_role) reader.refuse("a message has no '", tags.role_tag, "'");
  return message;
}

}  // namespace

std::vector<RawMessage> read_messages(const DatasetEntry& entry, const Record& record) {
  const Cell& cell = record.cell(entry.columns.messages);
  if (cell.kind == Cell::Kind::absent || cell.kind == Cell::Kind::null)
    fail(ExitCode::refused_input, "column '", entry.columns.messages, "' is ",
         cell.kind == Cell::Kind::null ? "null" : "missing", "; it holds the list of messages");
  JsonReader reader(cell.value, record.file(), JsonReader::kMaxDepth, cell.line);
  std::vector<RawMessage> messages;
  reader.begin_array();
  while (reader.next_element()) messages.push_back(read_message(reader, cell.value, entry.tags));
  reader.finish();
  return messages;
}

}  // namespace isogrid
