#pragma once
#include <optional>
#include <string>

#include "data/templates/chat_template.h"

namespace isogrid {

/// The default system text of a conversation that brings none.
std::string_view default_system(const ChatTemplate& layout, const TemplateOptions& options);

/// The text inside the system block: the words, then the tools. `tools_alone` drops the blank line
/// that separates the tools from words when there are no words.
std::string system_text(const ChatTemplate& layout, const SystemRequest& system,
                        const TemplateOptions& options, bool tools_alone);

}  // namespace isogrid
