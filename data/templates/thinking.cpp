#include "data/templates/thinking.h"

#include "data/templates/text.h"

namespace isogrid {

std::string empty_thought(const ChatTemplate& layout) {
  return std::string(layout.thought.before) + std::string(layout.thought.after);
}

bool mentions_thought(const ChatTemplate& layout, const Message& answer) {
  const auto marked = [&](std::string_view text) {
    return contains(text, trim(layout.thought.before)) ||
           contains(text, trim(layout.thought.after));
  };
  if (marked(answer.content)) return true;
  for (const ToolCall& call : answer.tool_calls) {
    if (marked(call.name) || marked(call.arguments)) return true;
  }
  return false;
}

std::string without_thought(const ChatTemplate& layout, std::string_view text) {
  const auto [open, close] = layout.thought;
  std::string kept;
  size_t from = 0;
  while (true) {
    const size_t begin = text.find(open, from);
    const size_t end =
        begin == std::string_view::npos ? begin : text.find(close, begin + open.size());
    if (end == std::string_view::npos) break;
    kept += text.substr(from, begin - from);
    from = end + close.size();
  }
  kept += text.substr(from);
  return std::string(trim_left(kept, "\n"));
}

ThoughtAndAnswer split_thought(std::string_view text) {
  constexpr std::string_view open = "<think>";
  constexpr std::string_view close = "</think>";
  const size_t first_close = text.find(close);
  if (first_close == std::string_view::npos) return {{}, text};
  std::string_view thought = trim_right(text.substr(0, first_close), "\n");
  if (const size_t last_open = thought.rfind(open); last_open != std::string_view::npos) {
    thought = thought.substr(last_open + open.size());
  }
  const size_t answer = text.rfind(close) + close.size();
  return {trim_left(thought, "\n"), trim_left(text.substr(answer), "\n")};
}

bool prompt_invites_thought(const TemplateOptions& options) {
  return options.enable_thinking.value_or(false);
}

bool smollm_thinks(std::string_view system, const TemplateOptions& options) {
  if (contains(system, "/no_think")) return false;
  if (contains(system, "/think")) return true;
  return options.enable_thinking.value_or(true);
}

}  // namespace isogrid
