#pragma once
#include <optional>
#include <string>

#include "configs/run_config.h"
#include "data/templates/chat_template.h"
#include "data/text_coder.h"

namespace isogrid {

/// What the rows of a run are encoded with.
struct DataCoding {
  TextCoder coder;
  const ChatTemplate* layout = nullptr;
};

/// The tokenizer of model_name_or_path and the template of `template`, else the one that the
/// folder's own chat template stands for, else raw text. Needs no weights.
DataCoding open_data_coding(const RunConfig& config);

/// The template that a folder's own chat template stands for, which is said; null: none of ours.
const ChatTemplate* recognised_layout(const std::optional<std::string>& jinja_source);

}  // namespace isogrid
