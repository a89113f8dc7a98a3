#pragma once
#include <string>
#include <string_view>

#include "data/templates/chat_template.h"
#include "data/templates/message.h"

namespace isogrid {

/// The block that says "nothing was thought".
std::string empty_thought(const ChatTemplate& layout);

/// Whether either mark of a think block occurs in the answer or in its calls.
bool mentions_thought(const ChatTemplate& layout, const Message& answer);

/// The text without its think blocks and without newlines in front.
std::string without_thought(const ChatTemplate& layout, std::string_view text);

/// A Qwen3 answer taken apart at its </think>, as the checkpoint's own template does.
struct ThoughtAndAnswer {
  std::string_view thought;
  std::string_view answer;
};
ThoughtAndAnswer split_thought(std::string_view text);

/// Whether a prompt asked to start thinking is left open for it (rather than closed by an empty
/// block).
bool prompt_invites_thought(const TemplateOptions& options);

/// SmolLM3's mode: /no_think or /think in the system text beat the option.
bool smollm_thinks(std::string_view system, const TemplateOptions& options);

}  // namespace isogrid
