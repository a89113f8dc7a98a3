#include "data/templates/prompt.h"

#include <utility>

#include "core/error.h"
#include "data/templates/system_text.h"
#include "data/templates/text.h"
#include "data/templates/thinking.h"
#include "data/templates/tools.h"

namespace isogrid {
namespace {

bool is_wrapped_tool_result(std::string_view text) {
  return text.starts_with("<tool_response>") && text.ends_with("</tool_response>");
}

/// The last thing a person asked; the reasoning of answers before it is history.
size_t last_query(std::span<const Message> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role == Speaker::user && !is_wrapped_tool_result(messages[i].content)) return i;
  }
  return messages.empty() ? 0 : messages.size() - 1;
}

class PromptWriter {
 public:
  PromptWriter(const ChatTemplate& layout, std::span<const Message> messages,
               const TemplateOptions& options, EdgeTokens edges)
      : layout_(layout),
        messages_(messages),
        options_(options),
        edges_(edges),
        dialect_(options.tool_dialect.value_or(layout.tools)) {}

  std::string write() {
    if (layout_.bos_first) text_ += edges_.bos;
    const size_t first = write_system();
    for (size_t i = first; i < messages_.size(); ++i) write_message(i);
    if (!pending_system_.empty()) write_user("");
    text_ += layout_.header;
    const bool closed =
        (layout_.thinking == Thinking::qwen3 && !prompt_invites_thought(options_)) ||
        (layout_.thinking == Thinking::smollm3 && !smollm_thinks(system_words_, options_));
    if (closed) text_ += empty_thought(layout_);
    return std::move(text_);
  }

 private:
  static void wrap(std::string& out, const Wrap& with, std::string_view content) {
    out += with.before;
    out += content;
    out += with.after;
  }

  std::string_view content_of(const Message& message) const {
    return layout_.trims_content ? trim(message.content) : std::string_view(message.content);
  }

  size_t write_system() {
    const bool given = !messages_.empty() && messages_.front().role == Speaker::system;
    const std::string_view words =
        given ? content_of(messages_.front()) : default_system(layout_, options_);
    system_words_ = words;
    const bool wanted =
        given || !words.empty() || !options_.tools.empty() || layout_.compose_system != nullptr;
    if (wanted) {
      std::string& out = layout_.system_in_user ? pending_system_ : text_;
      const bool tools_alone = !given && words.empty();
      wrap(out, layout_.system, system_text(layout_, {words, given}, options_, tools_alone));
    }
    return given ? 1 : 0;
  }

  void write_message(size_t i) {
    const Message& message = messages_[i];
    if (message.role == Speaker::assistant) return write_answer(i);
    if (i > 0 && messages_[i - 1].role == Speaker::assistant) text_ += layout_.separator;
    if (message.role == Speaker::user) return write_user(content_of(message));
    if (message.role == Speaker::tool) return write_tool_result(i);
    if (layout_.system_in_user || layout_.compose_system != nullptr) {
      fail(ExitCode::configuration, "message ", i + 1, " is a system message; the template ",
           layout_.name, " takes one only at the start");
    }
    wrap(text_, layout_.system, content_of(message));
  }

  void write_user(std::string_view content) {
    if (layout_.bos_each_turn) text_ += edges_.bos;
    wrap(text_, layout_.user, std::exchange(pending_system_, {}) + std::string(content));
  }

  void write_tool_result(size_t i) {
    const auto is_tool = [&](size_t at) {
      return at < messages_.size() && messages_[at].role == Speaker::tool;
    };
    const bool grouped = layout_.groups_tool_results;
    const bool continues = grouped && i > 0 && is_tool(i - 1);
    text_ += continues ? std::string_view("\n") : layout_.tool.before;
    wrap(text_, layout_.tool_result, content_of(messages_[i]));
    if (!grouped || !is_tool(i + 1)) text_ += layout_.tool.after;
  }

  void write_answer(size_t i) {
    text_ += layout_.header;
    std::string answer = answer_words(i);
    if (!messages_[i].tool_calls.empty()) {
      if (!answer.empty()) answer += "\n";
      answer += calls_text(dialect_, messages_[i].tool_calls, layout_.thinking == Thinking::qwen3);
    }
    const bool last = i + 1 == messages_.size();
    wrap(text_, layout_.past_answer.value_or(layout_.answer), answer);
    if (layout_.eos_after_answer) text_ += edges_.eos;
    if (last) text_ += layout_.separator;
  }

  std::string answer_words(size_t i) const {
    const std::string_view content = content_of(messages_[i]);
    if (layout_.thinking == Thinking::smollm3) {
      const bool thinks = smollm_thinks(system_words_, options_);
      return (thinks ? "" : empty_thought(layout_)) + std::string(trim_left(content, "\n"));
    }
    if (layout_.thinking != Thinking::qwen3) return std::string(content);
    const auto [thought, answer] = split_thought(content);
    const bool current = i > last_query(messages_) || options_.preserve_thinking;
    const bool last = i + 1 == messages_.size();
    if (!current || (!last && thought.empty())) return std::string(answer);
    return std::string(layout_.thought.before) + std::string(trim(thought, "\n")) +
           std::string(layout_.thought.after) + std::string(trim_left(answer, "\n"));
  }

  const ChatTemplate& layout_;
  std::span<const Message> messages_;
  const TemplateOptions& options_;
  EdgeTokens edges_;
  ToolDialect dialect_;
  std::string_view system_words_;
  std::string pending_system_;  // waits for the first user block
  std::string text_;
};

}  // namespace

std::string render_prompt(const ChatTemplate& layout, std::span<const Message> messages,
                          const TemplateOptions& options, EdgeTokens edges) {
  return PromptWriter(layout, messages, options, edges).write();
}

}  // namespace isogrid
