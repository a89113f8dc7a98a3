#pragma once
#include <span>
#include <string>
#include <string_view>

#include "data/templates/chat_template.h"
#include "data/templates/message.h"

namespace isogrid {

/// What is added to the system text so that the model knows the functions it may call.
/// `tools` is a JSON list; an empty list adds nothing.
std::string tools_section(ToolDialect dialect, std::string_view tools, const Day& today);

/// How the model writes these calls. `bare_strings`: arguments that are a quoted string are
/// written as the text inside the quotes, as Qwen3's own template does.
std::string calls_text(ToolDialect dialect, std::span<const ToolCall> calls, bool bare_strings);

/// The dialect a `tool_format` key names: default, qwen, llama3.
ToolDialect tool_dialect(std::string_view name);

}  // namespace isogrid
