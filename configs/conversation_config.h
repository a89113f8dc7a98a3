#pragma once
#include <optional>
#include <string>

namespace isogrid {

/// How messages become text.
struct ConversationConfig {
  std::optional<std::string> chat_template;  // the key is `template`, a word C++ keeps for itself
  std::optional<std::string> default_system;
  std::optional<bool> enable_thinking = true;
  bool preserve_thinking = false;
  std::optional<std::string> tool_format;

  void visit(auto&& field) {
    field("template", chat_template, "Name of a chat template.")
        .unset("the folder's own template where it is a known one, else raw text");
    field("default_system", default_system, "System text in place of the template's own.");
    field("enable_thinking", enable_thinking, "Whether a reasoning model thinks before it answers.")
        .unset("as the data has it");
    field("preserve_thinking", preserve_thinking, "Keep the thoughts of earlier turns.");
    field("tool_format", tool_format, "Tool dialect in place of the template's own.");
  }
};

}  // namespace isogrid
