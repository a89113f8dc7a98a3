#pragma once
#include <string>
#include <string_view>

#include "configs/run_config.h"

namespace isogrid {

/// The settings with which a second model of a run, a teacher or an anchor, is opened.
RunConfig with_model(const RunConfig& config, const std::string& model);

/// Ids mean the tokens of model_name_or_path, so the model that setting `key` names must know the
/// same ones: refuses (78) a tokenizer that has another token under an id.
void check_same_tokens(const RunConfig& config, std::string_view key, const RunConfig& other);

/// Of config.json: ids a model can tell apart.
int64_t vocabulary_of(const RunConfig& config);

}  // namespace isogrid
