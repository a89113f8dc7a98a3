#include <cstdio>

#include "configs/suggest.h"
#include "core/error.h"
#include "trainer/command_line.h"

namespace isogrid {

int run_help(const Invocation& invocation) {
  std::string page = help_page();
  if (!invocation.positional.empty()) {
    const std::string& name = invocation.positional.front();
    const Command* command = find_command(name);
    if (!command) fail(ExitCode::usage, "trainer help ", name, ": not a command");
    page = help_page(*command);
  }
  std::fputs(page.c_str(), stdout);
  return 0;
}

}  // namespace isogrid
