#include "configs/values.h"
#include "core/error.h"
#include "trainer/command_line.h"

namespace isogrid {
namespace {

std::string padded(std::string_view text, size_t width) {
  std::string out(text);
  out.resize(std::max(out.size(), width), ' ');
  return out;
}

std::string flag_text(const Field& option) {
  return concat("--", option.name, is_switch(option) ? "" : " VALUE");
}

}  // namespace

std::string help_page() {
  std::string page =
      "trainer COMMAND [--key value]... [key=value]...\n"
      "trainer --config FILE [--key value]... [key=value]...      the same as trainer train\n\n";
  for (const Command& command : commands())
    page += concat("  ", padded(command.name, 12), command.summary,
                   command.run ? "" : " (not supported yet)", "\n");
  return page +
         "\nEvery key of docs/config.md is a flag. `trainer COMMAND --help` shows its own.\n";
}

std::string help_page(const Command& command) {
  std::string page = concat("trainer ", command.name, command.operands.empty() ? "" : " ",
                            command.operands, " [--key value]... [key=value]...\n\n",
                            command.summary, command.run ? "" : " (not supported yet)", "\n\n");
  CommandOptions options;
  const std::vector<Field> fields = fields_of(options);
  size_t width = 0;
  for (std::string_view name : command.options)
    for (const Field& field : fields)
      if (field.name == name) width = std::max(width, flag_text(field).size() + 2);
  for (std::string_view name : command.options)
    for (const Field& field : fields)
      if (field.name == name)
        page += concat("  ", padded(flag_text(field), width), field.help, "\n");
  return page + (width ? "\n" : "") + "and every key of docs/config.md.\n";
}

}  // namespace isogrid
