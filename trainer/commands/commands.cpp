#include "trainer/commands/commands.h"

namespace isogrid {
namespace {

constexpr Groups model_use{Group::run, Group::model, Group::quantisation};
constexpr Groups text_use = model_use | Groups{Group::conversation, Group::generation};
constexpr Groups data_use{Group::run, Group::model, Group::conversation, Group::data};
constexpr Groups export_use =
    data_use | Groups{Group::quantisation, Group::exporting, Group::finetuning};

}  // namespace

std::span<const Command> commands() {
  // name, what it does, operands (fewest, most),
  // its own flags, settings it acts on, code
  // clang-format off
  static const Command table[] = {
      {"train", "fine-tune a model as a config says", "", 0, 0,
       {"config"}, Groups::all(), run_train},
      {"prepare", "tokenise the data ahead of a run", "", 0, 0,
       {"config", "json"}, data_use, run_prepare},
      {"plan", "memory, steps and tokens of a run, without starting it", "", 0, 0,
       {"config", "json"}, Groups::all(), run_plan},
      {"generate", "continue a prompt", "", 0, 0,
       {"config", "prompt", "prompts_file", "json"}, text_use, run_generate},
      {"chat", "talk with a model", "", 0, 0,
       {"config"}, text_use, run_chat},
      {"eval", "loss and perplexity of a text", "", 0, 0,
       {"config", "text_file", "eval_window", "eval_stride", "json"}, Groups::all(), run_eval},
      {"logits", "logits of given tokens, as a file", "", 0, 0,
       {"config", "token_ids", "output"}, model_use, run_logits},
      {"tokenize", "text to token ids, or back", "", 0, 0,
       {"config", "decode"}, model_use, run_tokenize},
      {"inspect", "what is in a file, a folder, or the rows of a run", "[FILE_OR_DIR]", 0, 1,
       {"config", "examples", "layers", "reference", "json"}, data_use, run_inspect},
      {"verify", "check a checkpoint, a run or an export", "DIR", 1, 1,
       {"json"}, Group::run, run_verify},
      {"init-model", "write a model of random weights from a config.json", "FROM TO", 2, 2,
       {}, Group::run, run_init_model},
      {"export", "write a model for other programs", "", 0, 0,
       {"config", "json", "prompt"}, export_use, run_export},
      {"convert", "turn one kind of model file into another", "FROM TO", 2, 2,
       {"config", "outtype", "to", "reference", "eval", "json"},
       export_use | Groups{Group::lut, Group::kd}, run_convert},
      {"imatrix", "importance of weights, measured on text", "", 0, 0,
       {"config", "text_file", "output"}, model_use, run_imatrix},
      {"kd-cache", "write a teacher's best guesses to disk", "", 0, 0,
       {"config", "json"}, data_use | Groups{Group::kd, Group::quantisation, Group::generation},
       run_kd_cache},
      {"plot", "draw the curves of finished runs", "RUN_OR_CSV...", 1, 64,
       {"output"}, Group::run, run_plot},
      {"diff", "the first setting and step in which two runs differ", "RUN1 RUN2", 2, 2,
       {"json"}, Group::run, run_diff},
      {"show-batch", "what a run was fed at a step", "RUN", 1, 1,
       {"step", "json"}, Group::run, run_show_batch},
      {"config", "a config with every default written out", "", 0, 0,
       {"config", "markdown"}, {}, run_config},
      {"limits", "the sizes beyond which files are refused", "", 0, 0,
       {}, {}, run_limits},
      {"version", "versions, commit and processor", "", 0, 0,
       {}, {}, run_version},
      {"help", "this page, or a command's own", "[COMMAND]", 0, 1,
       {}, {}, run_help},
  };
  // clang-format on
  return table;
}

const Command* find_command(std::string_view name) {
  for (const Command& command : commands())
    if (command.name == name) return &command;
  return nullptr;
}

}  // namespace isogrid
