#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/fields.h"

namespace isogrid {

/// Flags that belong to single commands and to no config file.
struct CommandOptions {
  std::optional<std::string> config;
  bool json = false;
  bool markdown = false;
  std::optional<std::string> token_ids;
  std::optional<std::string> output;
  bool decode = false;
  std::optional<std::string> text_file;
  int64_t eval_window = 1024;
  int64_t eval_stride = 512;
  std::optional<std::string> prompt;
  std::optional<std::string> prompts_file;
  int64_t examples = 3;
  bool layers = false;
  int64_t step = 0;
  std::optional<std::string> outtype;
  std::optional<std::string> to;
  std::optional<std::string> reference;
  bool eval = false;

  void visit(auto&& field) {
    field("config", config, "A YAML file of settings.");
    field("json", json, "Print JSON for programs.");
    field("markdown", markdown, "Print the page docs/config.md.");
    field("token_ids", token_ids, "JSON file: a list of lists of token ids.");
    field("output", output, "File to write.");
    field("decode", decode, "From ids to text.");
    field("text_file", text_file, "Text to measure.");
    field("eval_window", eval_window, "Tokens the model sees at once.").at_least(2);
    field("eval_stride", eval_stride, "Tokens between windows.").at_least(1);
    field("prompt", prompt, "Text to go on from.");
    field("prompts_file", prompts_file, "Many prompts: .json, .jsonl, or one text per line.");
    field("examples", examples, "How many to show.").at_least(0);
    field("layers", layers, "Figures of every layer.");
    field("step", step, "Which step.").at_least(0);
    field("to", to, "Form of layers: v1, v2, balanced; or dense.")
        .one_of({"v1", "v2", "balanced", "dense"});
    field("reference", reference, "Model that layers stand for.");
    field("eval", eval, "Measure before and after.");
    field("outtype", outtype, "Type of the file: f16, q8_0, q4_k_m, ...");
  }
};

std::vector<Field> fields_of(CommandOptions& options);

}  // namespace isogrid
