#include "trainer/commands/modelfile.h"

#include "core/error.h"
#include "core/json.h"
#include "data/templates/chat_template.h"

namespace isogrid {
namespace {

const ChatTemplate* layout_of(const RunConfig& config, const ModelFolder& folder) {
  if (config.conversation.chat_template) return &chat_template(*config.conversation.chat_template);
  return folder.chat_template ? recognise_chat_template(*folder.chat_template).layout : nullptr;
}

std::string block(std::string_view role, const std::string& text) {
  return concat("{{ if eq .Role \"", role, "\" }}", text, "{{ end }}");
}

std::string turns(const ChatTemplate& layout) {
  const auto around = [](const Wrap& wrap) {
    return concat(wrap.before, "{{ .Content }}", wrap.after);
  };
  return concat("{{ range .Messages }}", block("system", around(layout.system)),
                block("user", around(layout.user)),
                block("assistant", concat(layout.header, around(layout.answer), layout.separator)),
                "{{ end }}", layout.header);
}

std::string parameters(const ChatTemplate* layout, const ModelFolder& folder) {
  std::string text;
  if (layout != nullptr) {
    for (const std::string_view stop : layout->stop_tokens)
      if (!stop.empty()) text += concat("PARAMETER stop \"", stop, "\"\n");
    if (!layout->stop_string.empty()) {
      std::string escaped;
      for (const char c : layout->stop_string) escaped += c == '\n' ? "\\n" : std::string(1, c);
      text += concat("PARAMETER stop \"", escaped, "\"\n");
    }
  }
  if (!folder.generation_config) return text;
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"temperature", "temperature"},
      {"top_k", "top_k"},
      {"top_p", "top_p"},
      {"min_p", "min_p"},
      {"repetition_penalty", "repeat_penalty"}};
  for (const auto& [ours, theirs] : kNames)
    if (const auto found = folder.generation_config->find(ours);
        found != folder.generation_config->end() && found->is_number())
      text += concat("PARAMETER ", theirs, " ", found->dump(), "\n");
  return text;
}

}  // namespace

std::string modelfile(const std::string& gguf_name, const RunConfig& config,
                      const ModelFolder& folder) {
  const ChatTemplate* layout = layout_of(config, folder);
  std::string text = concat("FROM ./", gguf_name, "\n");
  // Where the system text stands inside the first turn, the file's own template knows better.
  if (layout != nullptr && !layout->system_in_user)
    text += concat("TEMPLATE \"\"\"", turns(*layout), "\"\"\"\n");
  const std::string system(config.conversation.default_system.value_or(
      layout != nullptr ? std::string(layout->default_system) : ""));
  if (!system.empty()) text += concat("SYSTEM \"\"\"", system, "\"\"\"\n");
  return text + parameters(layout, folder);
}

}  // namespace isogrid
