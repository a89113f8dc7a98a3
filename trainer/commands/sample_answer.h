#pragma once
#include <string>

#include "configs/run_config.h"

namespace isogrid {

/// What the model of the settings answers to `prompt`, its likeliest tokens, some dozens of them.
/// As a conversation where the model's folder tells how, else as text to go on from.
std::string sample_answer(const RunConfig& config, const std::string& prompt);

}  // namespace isogrid
