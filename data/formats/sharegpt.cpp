// Records of a list of messages in which people and model take turns.
#include "core/error.h"
#include "data/formats/formats.h"
#include "data/formats/message_list.h"

namespace isogrid {
namespace {

void check_turn(const DatasetTags& tags, const RawMessage& message, size_t number, bool is_answer) {
  const std::string& first = is_answer ? tags.assistant_tag : tags.user_tag;
  const std::string& second = is_answer ? tags.function_tag : tags.observation_tag;
  if (!message.role.empty() && (message.role == first || message.role == second)) return;
  fail(ExitCode::refused_input, "message ", number, " is from '", message.role, "'; here it is ",
       is_answer ? "the model's turn: '" : "not the model's turn: '", first,
       second.empty() ? "" : concat("' or '", second), "'");
}

}  // namespace

void read_sharegpt(const DatasetEntry& entry, const Record& record, Example& example) {
  const DatasetTags& tags = entry.tags;
  const std::vector<RawMessage> list = read_messages(entry, record);
  const bool opens_with_system =
      !list.empty() && !tags.system_tag.empty() && list.front().role == tags.system_tag;
  std::string system = opens_with_system ? list.front().content.value_or(std::string())
                                         : text_if_any(record, entry.columns.system);
  if (!system.empty())
    example.messages.push_back(
        {.role = Speaker::system, .content = std::move(system), .tool_calls = {}, .trained = {}});
  const size_t first = opens_with_system ? 1 : 0;
  for (size_t i = first; i < list.size(); ++i) {
    const bool is_answer = (i - first) % 2 == 1;
    check_turn(tags, list[i], i + 1, is_answer);
    if (!list[i].content)
      fail(ExitCode::refused_input, "message ", i + 1, " has no '", tags.content_tag, "'");
    Message message{.role = Speaker::user, .content = {}, .tool_calls = {}, .trained = {}};
    if (is_answer && list[i].role == tags.function_tag) {
      message = call_message(*list[i].content);
    } else {
      message.role = is_answer                       ? Speaker::assistant
                     : list[i].role == tags.user_tag ? Speaker::user
                                                     : Speaker::tool;
      message.content = *list[i].content;
    }
    message.trained = list[i].trained;
    example.messages.push_back(std::move(message));
  }
  if (list.size() == first || (list.size() - first) % 2 != 0)
    fail(ExitCode::refused_input, "the conversation has ", list.size() - first,
         " messages; it must end with an answer of '", tags.assistant_tag, "'");
  example.tools = json_if_any(record, entry.columns.tools);
}

}  // namespace isogrid
