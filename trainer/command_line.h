#pragma once
#include <string>
#include <vector>

#include "configs/load.h"
#include "trainer/commands/commands.h"

namespace isogrid {

/// The words after the program's name, sorted. `--key value`, `--key=value`, `--switch` alone and
/// `key=value` may stand in any order; a word ending in .yaml or .yml is the config.
struct CommandLine {
  const Command* command = nullptr;
  CommandOptions options;
  std::vector<Override> overrides;
  std::vector<std::string> operands;
  bool wants_help = false;
};

/// Without a command's name first, the command is train. What does not fit is refused with exit
/// code 64, all at once.
CommandLine parse_command_line(const std::vector<std::string>& words);

/// Loads the config, refuses what has no code yet, and is ready for `command->run`.
Invocation make_invocation(CommandLine line);

/// Parses, loads, runs. Errors pass through.
int run_command_line(const std::vector<std::string>& words);

/// The page of all commands, and the page of one.
std::string help_page();
std::string help_page(const Command& command);

}  // namespace isogrid
