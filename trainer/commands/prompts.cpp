#include "trainer/commands/prompts.h"

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"

namespace isogrid {
namespace {

constexpr uint64_t kLargestPrompts = uint64_t{256} << 20;

Speaker role_named(const std::string& name, const std::string& place) {
  if (name == "system") return Speaker::system;
  if (name == "user") return Speaker::user;
  if (name == "assistant") return Speaker::assistant;
  if (name == "tool") return Speaker::tool;
  fail(ExitCode::refused_input, place, ": role ", name,
       "; allowed are system, user, assistant, tool");
}

Message spoken(Speaker role, std::string content) {
  return {.role = role, .content = std::move(content), .tool_calls = {}, .trained = {}};
}

Prompt prompt_of(const Json& value, const std::string& place) {
  if (value.is_string()) return text_prompt(value.get<std::string>(), place);
  const JsonFields fields(value, place);
  Prompt prompt{.messages = {}, .place = place};
  if (fields.has("messages")) {
    if (!fields.value("messages").is_array()) fields.refuse("messages", "a list of messages");
    for (const Json& entry : fields.value("messages")) {
      const JsonFields message(entry, place);
      prompt.messages.push_back(
          spoken(role_named(message.string("role"), place), message.string("content")));
    }
    if (prompt.messages.empty()) fields.refuse("messages", "at least one message");
    return prompt;
  }
  if (fields.has("system"))
    prompt.messages.push_back(spoken(Speaker::system, fields.string("system")));
  prompt.messages.push_back(spoken(Speaker::user, fields.string("prompt")));
  return prompt;
}

template <typename Take>
void each_line(const std::string& text, const Take& take) {
  int64_t number = 1;
  for (size_t at = 0; at < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) take(std::move(line), number);
    at = end + 1;
  }
}

}  // namespace

Prompt text_prompt(std::string text, std::string place) {
  return {.messages = {spoken(Speaker::user, std::move(text))}, .place = std::move(place)};
}

std::vector<Prompt> read_prompts(const std::string& path) {
  const JsonLimits limits{.max_bytes = kLargestPrompts, .max_depth = 64};
  const std::string text = read_text_file(path, kLargestPrompts);
  std::vector<Prompt> prompts;
  if (path.ends_with(".json")) {
    const Json list = parse_json(text, path, limits);
    if (!list.is_array()) fail(ExitCode::refused_input, path, ": not a JSON list of prompts");
    for (const Json& value : list) {
      prompts.push_back(prompt_of(value, concat(path, ": prompt ", prompts.size() + 1)));
    }
  } else {
    const bool json = path.ends_with(".jsonl");
    each_line(text, [&](std::string line, int64_t number) {
      const std::string place = concat(path, ":", number);
      prompts.push_back(json ? prompt_of(parse_json(line, place, limits), place)
                             : text_prompt(std::move(line), place));
    });
  }
  if (prompts.empty()) fail(ExitCode::refused_input, path, ": holds no prompt");
  return prompts;
}

}  // namespace isogrid
