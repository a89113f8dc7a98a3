#include "trainer/command_line.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "configs/aliases.h"
#include "configs/foreign.h"
#include "configs/scalars.h"
#include "configs/suggest.h"
#include "configs/values.h"
#include "core/error.h"
#include "core/log.h"

namespace isogrid {
namespace {

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

/// Length of the key in `key=value`, 0 when the word is something else, such as a path.
size_t override_key_length(std::string_view word) {
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos || equals == 0) return 0;
  const std::string_view key = word.substr(0, equals);
  const bool starts_well = is_key_character(key[0]) && key[0] != '.' && key[0] != '-';
  return starts_well && std::all_of(key.begin(), key.end(), is_key_character) ? equals : 0;
}

bool is_flag(std::string_view word) { return word.size() > 2 && word.starts_with("--"); }

bool is_yaml(std::string_view word) { return word.ends_with(".yaml") || word.ends_with(".yml"); }

/// Reads the words after the command from left to right.
class WordReader {
 public:
  WordReader(CommandLine& line, const std::vector<std::string>& words, size_t first)
      : line_(line),
        words_(words),
        at_(first),
        option_fields_(fields_of(line.options)),
        config_fields_(fields_of(defaults_)) {}

  void read() {
    while (at_ < words_.size()) {
      const std::string& word = words_[at_++];
      if (word == "--help" || word == "-h")
        line_.wants_help = true;
      else if (is_flag(word))
        read_flag(word);
      else if (const size_t key = override_key_length(word))
        line_.overrides.push_back({word.substr(0, key), word.substr(key + 1), word});
      else
        read_operand(word);
    }
    check_operands();
    if (!problems_.empty()) fail(ExitCode::usage, joined_problems("trainer", problems_));
  }

 private:
  void read_flag(const std::string& word) {
    const size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::optional<std::string> value;
    if (equals != std::string::npos) value = word.substr(equals + 1);
    const std::string flag = "--" + name;
    if (const Field* option = find(option_fields_, name)) {
      if (!belongs(name)) return refuse_option(name);
      if (take_value(flag, takes_no_value(*option), value)) set_option(*option, *value);
    } else if (is_known_key(name)) {
      if (take_value(flag, key_takes_no_value(name), value))
        line_.overrides.push_back({name, *value, flag});
    } else {
      if (!value && at_ < words_.size() && !is_flag(words_[at_])) ++at_;  // most likely its value
      problems_.push_back(concat(flag, ": not a flag", suggestion(name, known_flags())));
    }
  }

  void read_operand(const std::string& word) {
    if (word.size() > 1 && word[0] == '-')
      return problems_.push_back(concat(word, ": not a flag; flags begin with two dashes"));
    if (is_yaml(word) && belongs("config")) {
      if (line_.options.config)
        problems_.push_back(concat(word, ": a second config beside ", *line_.options.config));
      line_.options.config = word;
      return;
    }
    line_.operands.push_back(word);
  }

  /// True once `value` holds the flag's value: after "=", the next word, or "true" for a switch.
  bool take_value(const std::string& flag, bool may_stand_alone,
                  std::optional<std::string>& value) {
    if (value) return true;
    const bool has_next = at_ < words_.size();
    if (may_stand_alone) {
      const bool next_fits = has_next && next_is_value(flag);
      value = next_fits ? words_[at_++] : "true";
      return true;
    }
    if (has_next && !is_known_flag(words_[at_])) {
      value = words_[at_++];
      return true;
    }
    problems_.push_back(concat(flag, ": a value is missing"));
    return false;
  }

  bool next_is_value(const std::string& flag) const {
    const std::string& next = words_[at_];
    if (read_bool(next).value || is_null_word(next) || next == "auto") return true;
    const std::string name = flag.substr(2);
    const Field* field = config_target(name);
    const bool may_be_text = field ? field->takes_bool && !find_alias(name) : !is_option(name);
    return may_be_text && !is_flag(next) && override_key_length(next) == 0;
  }

  void set_option(const Field& option, const std::string& word) {
    const std::string flag = concat("--", option.name);
    const std::string problem = assign(option, node_from_word(option, word, flag));
    if (!problem.empty()) problems_.push_back(concat(flag, ": ", problem));
  }

  void refuse_option(const std::string& name) {
    std::string owners;
    for (const Command& command : commands())
      if (std::count(command.options.begin(), command.options.end(), name))
        owners += concat(owners.empty() ? "" : ", ", command.name);
    if (at_ < words_.size() && !is_flag(words_[at_]) &&
        !takes_no_value(*find(option_fields_, name)))
      ++at_;
    problems_.push_back(
        concat("--", name, ": not a flag of ", line_.command->name, "; it belongs to ", owners));
  }

  void check_operands() {
    if (line_.wants_help) return;
    const Command& command = *line_.command;
    for (size_t i = command.most_operands; i < line_.operands.size(); ++i)
      problems_.push_back(
          concat("'", line_.operands[i], "': ", command.name,
                 command.most_operands == 0 ? " takes no such word" : " takes no more words"));
    if (line_.operands.size() < command.fewest_operands)
      problems_.push_back(concat(command.name, ": ", command.operands, " is expected"));
  }

  static const Field* find(const std::vector<Field>& fields, std::string_view name) {
    for (const Field& field : fields)
      if (field.name == name) return &field;
    return nullptr;
  }
  const Field* config_target(std::string_view name) const {
    const Alias* alias = find_alias(name);
    return find(config_fields_, alias ? alias->key : name);
  }
  bool key_takes_no_value(std::string_view name) const {
    const Alias* alias = find_alias(name);
    if (alias && alias->form != AliasForm::same) return alias->form != AliasForm::ratio;
    const Field* field = config_target(name);
    return !field || takes_no_value(*field);  // other stacks' keys: value or not
  }
  static bool takes_no_value(const Field& field) { return is_switch(field) || field.takes_bool; }
  bool is_known_key(std::string_view name) const {
    return config_target(name) != nullptr || find_foreign(name) != nullptr;
  }
  bool is_known_flag(const std::string& word) const {
    if (!is_flag(word)) return false;
    const std::string name = word.substr(2, word.find('=') - 2);
    return word == "--help" || find(option_fields_, name) || is_known_key(name);
  }
  bool is_option(std::string_view name) const { return find(option_fields_, name) != nullptr; }
  bool belongs(std::string_view option) const {
    const auto& own = line_.command->options;
    return std::find(own.begin(), own.end(), option) != own.end();
  }
  std::vector<std::string_view> known_flags() const {
    std::vector<std::string_view> names = line_.command->options;
    names.insert(names.end(), known_keys().begin(), known_keys().end());
    return names;
  }

  CommandLine& line_;
  const std::vector<std::string>& words_;
  size_t at_;
  RunConfig defaults_;
  std::vector<Field> option_fields_, config_fields_;
  std::vector<std::string> problems_;
};

const Command& command_named(const std::string& word) {
  if (const Command* command = find_command(word)) return *command;
  std::vector<std::string_view> names;
  for (const Command& command : commands()) names.push_back(command.name);
  fail(ExitCode::usage, "trainer ", word, ": not a command", suggestion(word, names),
       " `trainer help` lists them");
}

bool begins_with_command(const std::vector<std::string>& words) {
  const std::string& first = words.front();
  return first[0] != '-' && override_key_length(first) == 0 && !is_yaml(first);
}

void announce_output_dir(const RunConfig& config) {
  if (!config.is_given("output_dir"))
    log_info(concat("output_dir is not set: writing to ", config.run.output_dir));
}

}  // namespace

std::vector<Field> fields_of(CommandOptions& options) {
  FieldList list;
  options.visit(list);
  return list.take();
}

CommandLine parse_command_line(const std::vector<std::string>& words) {
  CommandLine line;
  if (words.empty()) fail(ExitCode::usage, help_page());
  if (words.front() == "--help" || words.front() == "-h") {
    line.command = find_command("help");
    return line;
  }
  if (words.front() == "--version") {
    line.command = find_command("version");
    return line;
  }
  if (words.front().empty()) fail(ExitCode::usage, "trainer '': not a command");
  const bool is_named = begins_with_command(words);
  line.command = is_named ? &command_named(words.front()) : find_command("train");
  WordReader(line, words, is_named ? 1 : 0).read();
  return line;
}

namespace {

/// Layers that are made without a training know no way of training; a file may still name one.
void leave_training_out(CommandLine& line) {
  const Groups& reads = line.command->reads;
  if (!reads.has(Group::lut) || reads.has(Group::saving)) return;
  bool makes_tables = false;
  for (const Override& each : line.overrides) {
    makes_tables |= each.key.starts_with("lut_");
    if (each.key == "finetuning_type") return;
  }
  if (makes_tables)
    line.overrides.push_back({"finetuning_type", "full", std::string(line.command->name)});
}

}  // namespace

Invocation make_invocation(CommandLine line) {
  Invocation invocation;
  leave_training_out(line);
  invocation.command = line.command;
  invocation.options = std::move(line.options);
  invocation.positional = std::move(line.operands);
  invocation.config = load_run_config(invocation.options.config.value_or(""), line.overrides);
  if (!line.command->run)
    fail(ExitCode::configuration, "trainer ", line.command->name, ": not supported yet");
  check_supported(invocation.config, line.command->reads);
  if (line.command->reads.has(Group::saving)) announce_output_dir(invocation.config);
  return invocation;
}

int run_command_line(const std::vector<std::string>& words) {
  CommandLine line = parse_command_line(words);
  if (line.wants_help) {
    std::fputs(help_page(*line.command).c_str(), stdout);
    return 0;
  }
  const Invocation invocation = make_invocation(std::move(line));
  return invocation.command->run(invocation);
}

}  // namespace isogrid
