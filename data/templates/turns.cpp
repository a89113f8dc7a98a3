#include "data/templates/turns.h"

#include "core/error.h"
#include "data/templates/system_text.h"
#include "data/templates/thinking.h"
#include "data/templates/tools.h"

namespace isogrid {
namespace {

// LLaMA-Factory joins results that follow each other by these marks, whatever the template.
constexpr std::string_view kBetweenResults = "\n</tool_response>\n<tool_response>\n";

/// Question and answer alternating, tool results joined, the system message apart.
struct Conversation {
  std::string system;
  std::vector<Message> messages;  // even: user or tool, odd: assistant
};

std::string_view name_of(Speaker role) {
  switch (role) {
    case Speaker::system:
      return "system";
    case Speaker::user:
      return "user";
    case Speaker::assistant:
      return "assistant";
    case Speaker::tool:
      return "tool";
  }
  return "";
}

Conversation arrange(std::span<const Message> messages) {
  Conversation conversation;
  size_t first = 0;
  if (!messages.empty() && messages.front().role == Speaker::system) {
    conversation.system = messages.front().content;
    first = 1;
  }
  std::vector<Message>& list = conversation.messages;
  for (size_t i = first; i < messages.size(); ++i) {
    const Message& message = messages[i];
    if (message.role == Speaker::tool && !list.empty() && list.back().role == Speaker::tool) {
      list.back().content += std::string(kBetweenResults) + message.content;
      continue;
    }
    const bool answer_due = list.size() % 2 == 1;
    if ((message.role == Speaker::assistant) != answer_due || message.role == Speaker::system) {
      fail(ExitCode::refused_input, "message ", i + 1, " is from ", name_of(message.role),
           "; expected ", answer_due ? "assistant" : "user or tool");
    }
    list.push_back(message);
  }
  if (list.empty() || list.size() % 2 != 0) {
    fail(ExitCode::refused_input, "the conversation has ", list.size(),
         " messages without the system message; it must end with an answer of the assistant");
  }
  return conversation;
}

void apply_thinking(const ChatTemplate& layout, const TurnOptions& options,
                    Conversation& conversation) {
  if (layout.thinking == Thinking::none) return;
  std::vector<Message>& messages = conversation.messages;
  const bool history_only = layout.thinking == Thinking::smollm3
                                ? smollm_thinks(conversation.system, options)
                                : options.enable_thinking.value_or(true);
  if (history_only && !(options.mask_history && !options.preserve_thinking)) return;
  const size_t end = history_only ? messages.size() - 2 : messages.size();
  for (size_t i = 1; i < end; i += 2) {
    messages[i].content = without_thought(layout, messages[i].content);
  }
}

class TurnEncoder {
 public:
  TurnEncoder(const ChatTemplate& layout, const TurnOptions& options, Conversation conversation)
      : layout_(layout), options_(options), conversation_(std::move(conversation)) {}

  EncodedTurns encode() {
    EncodedTurns encoded{.turns = {}, .eos_at_end = layout_.eos_at_end};
    const std::vector<Message>& messages = conversation_.messages;
    for (size_t i = 0; i < messages.size(); i += 2) {
      Turn turn;
      if (i == 0) add_opening(turn);
      add_question(turn, messages[i], i == 0);
      add_answer(turn, messages[i + 1]);
      const bool last = i + 2 == messages.size();
      add_empty_thought(turn, messages[i + 1], last);
      set_trained(turn, messages[i], messages[i + 1], last);
      encoded.turns.push_back(std::move(turn));
    }
    return encoded;
  }

 private:
  static void add(std::vector<Slot>& slots, Speaker role, Slot::Kind kind, std::string text = {}) {
    if (kind == Slot::Kind::text && text.empty()) return;
    slots.push_back({.kind = kind, .text = std::move(text), .role = role, .trained = false});
  }
  static std::string wrapped(const Wrap& with, std::string_view content) {
    return std::string(with.before) + std::string(content) + std::string(with.after);
  }

  void add_opening(Turn& turn) {
    if (layout_.bos_first) add(turn.source, Speaker::system, Slot::Kind::bos);
    const bool given = !conversation_.system.empty();
    const std::string_view words =
        given ? std::string_view(conversation_.system) : default_system(layout_, options_);
    system_words_ = words;
    if (words.empty() && options_.tools.empty() && layout_.compose_system == nullptr) return;
    std::string block = wrapped(layout_.system, system_text(layout_, {words, given}, options_,
                                                            /*tools_alone=*/false));
    if (layout_.system_in_user) {
      pending_system_ = std::move(block);
    } else {
      add(turn.source, Speaker::system, Slot::Kind::text, std::move(block));
    }
  }

  void add_question(Turn& turn, const Message& message, bool first) {
    if (layout_.bos_each_turn) add(turn.source, message.role, Slot::Kind::bos);
    const bool is_tool = message.role == Speaker::tool;
    std::string text = first ? std::string() : std::string(layout_.separator);
    text +=
        wrapped(is_tool ? layout_.tool : layout_.user,
                std::exchange(pending_system_, {}) +
                    (is_tool ? wrapped(layout_.tool_result, message.content) : message.content));
    text += layout_.header;
    add(turn.source, message.role, Slot::Kind::text, std::move(text));
    turn.source_closes_answer = layout_.eos_at_end && !first;
  }

  void add_answer(Turn& turn, const Message& message) {
    std::string text = message.content;
    if (!message.tool_calls.empty()) {
      text += calls_text(options_.tool_dialect.value_or(layout_.tools), message.tool_calls,
                         /*bare_strings=*/false);
    }
    add(turn.target, Speaker::assistant, Slot::Kind::text, wrapped(layout_.answer, text));
    if (layout_.eos_after_answer) add(turn.target, Speaker::assistant, Slot::Kind::eos);
  }

  void add_empty_thought(Turn& turn, const Message& answer, bool last) {
    if (layout_.thinking == Thinking::none || mentions_thought(layout_, answer)) return;
    Slot block{.kind = Slot::Kind::text,
               .text = empty_thought(layout_),
               .role = Speaker::assistant,
               .trained = false};
    if (layout_.thinking == Thinking::smollm3) {
      if (!smollm_thinks(system_words_, options_)) turn.source.push_back(std::move(block));
      return;
    }
    if (options_.mask_history && !options_.preserve_thinking && !last) return;
    if (options_.enable_thinking.value_or(false)) {
      turn.target.insert(turn.target.begin(), std::move(block));
    } else {
      turn.source.push_back(std::move(block));
    }
  }

  void set_trained(Turn& turn, const Message& question, const Message& answer, bool last) const {
    const bool by_rule = last || !options_.mask_history;
    for (Slot& slot : turn.source)
      slot.trained = slot.role == question.role
                         ? question.trained.value_or(options_.train_on_prompt)
                         : options_.train_on_prompt;
    for (Slot& slot : turn.target) slot.trained = answer.trained.value_or(by_rule);
  }

  const ChatTemplate& layout_;
  const TurnOptions& options_;
  Conversation conversation_;
  std::string_view system_words_;
  std::string pending_system_;
};

}  // namespace

EncodedTurns encode_turns(const ChatTemplate& layout, std::span<const Message> messages,
                          const TurnOptions& options) {
  if (options.train_on_prompt && layout.eos_at_end) {
    fail(ExitCode::configuration, "train_on_prompt: the template ", layout.name,
         " marks the end of an answer by a label on the next question, so it cannot train both");
  }
  Conversation conversation = arrange(messages);
  apply_thinking(layout, options, conversation);
  return TurnEncoder(layout, options, std::move(conversation)).encode();
}

}  // namespace isogrid
