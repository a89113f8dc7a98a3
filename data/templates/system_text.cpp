#include "data/templates/system_text.h"

#include "data/templates/text.h"
#include "data/templates/tools.h"

namespace isogrid {

std::string_view default_system(const ChatTemplate& layout, const TemplateOptions& options) {
  return options.default_system ? std::string_view(*options.default_system) : layout.default_system;
}

std::string system_text(const ChatTemplate& layout, const SystemRequest& system,
                        const TemplateOptions& options, bool tools_alone) {
  if (layout.compose_system != nullptr) return layout.compose_system(system, options);
  std::string text(system.text);
  if (options.tools.empty()) return text;
  const std::string tools = tools_section(options.tool_dialect.value_or(layout.tools),
                                          options.tools, options.today.value_or(local_day()));
  return text += tools_alone ? trim_left(tools, "\n") : std::string_view(tools);
}

}  // namespace isogrid
