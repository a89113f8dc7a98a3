// Records of {role, content, tool_calls} messages.
#include "core/error.h"
#include "data/formats/formats.h"
#include "data/formats/message_list.h"

namespace isogrid {
namespace {

/// [{"name": ..., "arguments": ...}, ...], as a function_call value has it.
std::string list_of(const std::vector<std::string>& calls) {
  std::string list = "[";
  for (const std::string& call : calls) list += (list.size() > 1 ? ", " : "") + call;
  return list + "]";
}

Speaker speaker_of(const DatasetTags& tags, const std::string& role, size_t number) {
  if (role == tags.user_tag) return Speaker::user;
  if (role == tags.assistant_tag || role == tags.function_tag) return Speaker::assistant;
  if (role == tags.observation_tag) return Speaker::tool;
  fail(ExitCode::refused_input, "message ", number, " has the role '", role, "'",
       role == tags.system_tag
           ? ", which opens a conversation"
           : concat("; known are '", tags.user_tag, "', '", tags.assistant_tag, "', '",
                    tags.observation_tag, "' and '", tags.system_tag, "'"));
}

}  // namespace

void read_openai(const DatasetEntry& entry, const Record& record, Example& example) {
  const DatasetTags& tags = entry.tags;
  const std::vector<RawMessage> list = read_messages(entry, record);
  const bool opens_with_system =
      !list.empty() && !tags.system_tag.empty() && list.front().role == tags.system_tag;
  std::string system = opens_with_system ? list.front().content.value_or(std::string())
                                         : text_if_any(record, entry.columns.system);
  if (!system.empty())
    example.messages.push_back(
        {.role = Speaker::system, .content = std::move(system), .tool_calls = {}, .trained = {}});
  for (size_t i = opens_with_system ? 1 : 0; i < list.size(); ++i) {
    const RawMessage& raw = list[i];
    const Speaker speaker = speaker_of(tags, raw.role, i + 1);
    Message message{.role = speaker, .content = {}, .tool_calls = {}, .trained = {}};
    if (speaker == Speaker::assistant && !raw.calls.empty()) {
      message = call_message(list_of(raw.calls));
      example.lost_text |= raw.content && !raw.content->empty();
    } else if (!raw.content) {
      fail(ExitCode::refused_input, "message ", i + 1, " has no '", tags.content_tag, "'");
    } else if (raw.role == tags.function_tag) {
      message = call_message(*raw.content);
    } else {
      message.content = *raw.content;
    }
    message.trained = raw.trained;
    example.messages.push_back(std::move(message));
  }
  if (example.messages.empty() || example.messages.back().role != Speaker::assistant)
    fail(ExitCode::refused_input, "the conversation has no answer at its end to train on");
  example.tools = json_if_any(record, entry.columns.tools);
}

}  // namespace isogrid
