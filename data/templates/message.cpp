#include "data/templates/message.h"

#include "core/error.h"
#include "core/json.h"
#include "data/templates/json_text.h"
#include "data/templates/text.h"

namespace isogrid {
namespace {

struct Found {
  std::string_view whole;  // with both marks
  std::string_view inner;
};

std::optional<Found> first_between(std::string_view text, std::string_view open,
                                   std::string_view close) {
  const size_t begin = text.find(open);
  if (begin == std::string_view::npos) return std::nullopt;
  const size_t inner = begin + open.size();
  const size_t end = text.find(close, inner);
  if (end == std::string_view::npos) return std::nullopt;
  return Found{text.substr(begin, end + close.size() - begin), text.substr(inner, end - inner)};
}

std::vector<ToolCall> parse_calls(std::string_view text) {
  Json value = parse_json(text, "function_call");
  if (!value.is_array()) value = Json::array({value});
  std::vector<ToolCall> calls;
  for (const Json& call : value) {
    if (!call.is_object() || !call.contains("name") || !call["name"].is_string() ||
        !call.contains("arguments")) {
      fail(ExitCode::refused_input, "function_call: ", json_text(call),
           R"(; a call is {"name": "...", "arguments": {...}}, several are a list of those)");
    }
    calls.push_back({call["name"].get<std::string>(), json_text(call["arguments"])});
  }
  return calls;
}

}  // namespace

Message call_message(std::string_view value) {
  Message message{.role = Speaker::assistant, .content = {}, .tool_calls = {}, .trained = {}};
  if (const auto tagged = first_between(value, "<tool_call>", "</tool_call>")) {
    message.tool_calls = parse_calls(tagged->inner);
    message.content = erase_all(value, tagged->whole);
  } else if (const auto thought = first_between(value, "<think>\n", "\n</think>\n\n")) {
    message.tool_calls = parse_calls(erase_all(value, thought->whole));
    message.content = thought->whole;
  } else {
    message.tool_calls = parse_calls(value);
  }
  return message;
}

}  // namespace isogrid
