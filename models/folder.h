#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/input_directory.h"
#include "core/json.h"

namespace isogrid {

/// A Hugging Face model folder, its small files read and kept as they are. Weights are opened by
/// models/weight_index.h.
struct ModelFolder {
  std::string path;  // as the user gave it
  std::shared_ptr<const InputDirectory> files;
  Json config;                            // config.json, unknown keys and order kept
  std::optional<Json> generation_config;  // generation_config.json
  std::optional<std::string> chat_template;
  std::vector<std::string> tokenizer_files;  // the plain names of those that are there
};

/// Missing folder or config.json: exit code 66; malformed: 65. Nothing in it is ever run:
/// `auto_map` and Python files are ignored.
ModelFolder open_model_folder(const std::string& path);

/// Names under which tokenizers come, in no order: tokenizer.json, tokenizer.model, merges.txt, ...
const std::vector<std::string>& tokenizer_file_names();

/// chat_template.jinja, else the field of tokenizer_config.json (its "default" entry where it is
/// a list), else chat_template.json.
std::optional<std::string> read_chat_template(const InputDirectory& files);

}  // namespace isogrid
