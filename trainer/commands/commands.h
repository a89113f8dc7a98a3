#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "configs/run_config.h"
#include "trainer/command_options.h"

namespace isogrid {

struct Command;

/// A command line, read and checked.
struct Invocation {
  const Command* command = nullptr;
  RunConfig config;
  CommandOptions options;
  std::vector<std::string> positional;
};

/// One word after `trainer`, and everything there is to know about it.
struct Command {
  std::string_view name;
  std::string_view summary;
  std::string_view operands;  // as help shows them: "FROM TO"
  size_t fewest_operands, most_operands;
  std::vector<std::string_view> options;  // names of members of CommandOptions
  Groups reads;                           // settings it acts on
  int (*run)(const Invocation&);          // the exit code; null: not supported yet
};

/// The one table of commands.
std::span<const Command> commands();
const Command* find_command(std::string_view name);  // null: there is none

int run_chat(const Invocation& invocation);
int run_config(const Invocation& invocation);
int run_convert(const Invocation& invocation);
int run_diff(const Invocation& invocation);
int run_eval(const Invocation& invocation);
int run_export(const Invocation& invocation);
int run_generate(const Invocation& invocation);
int run_help(const Invocation& invocation);
int run_imatrix(const Invocation& invocation);
int run_init_model(const Invocation& invocation);
int run_inspect(const Invocation& invocation);
int run_inspect_layers(const Invocation& invocation);  // inspect --layers
int run_inspect_rows(const Invocation& invocation);    // inspect --config
int run_kd_cache(const Invocation& invocation);
int run_limits(const Invocation& invocation);
int run_logits(const Invocation& invocation);
int run_plan(const Invocation& invocation);
int run_prepare(const Invocation& invocation);
int run_show_batch(const Invocation& invocation);
int run_plot(const Invocation& invocation);
int run_tokenize(const Invocation& invocation);
int run_train(const Invocation& invocation);
int run_verify(const Invocation& invocation);
int run_version(const Invocation& invocation);

}  // namespace isogrid
