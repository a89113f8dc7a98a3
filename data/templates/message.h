#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

enum class Speaker { system, user, assistant, tool };

/// One call of a function. `arguments` is JSON text: usually an object; when the data holds a
/// quoted string it stays a string, as in LLaMA-Factory.
struct ToolCall {
  std::string name;
  std::string arguments;
};

/// One message of a conversation.
struct Message {
  Speaker role = Speaker::user;
  std::string content;
  std::vector<ToolCall> tool_calls;  // assistant only; `content` is then the text before them
  std::optional<bool> trained;       // a row's own wish for this turn; unset = the rule decides
};

/// The assistant message a `function_call` value stands for: a JSON object {"name", "arguments"}
/// or a list of them, possibly behind a think block or inside <tool_call> tags.
/// Malformed JSON, or a call without a name, is refused.
Message call_message(std::string_view value);

}  // namespace isogrid
