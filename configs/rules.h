#pragma once
#include <string>
#include <vector>

#include "configs/run_config.h"

namespace isogrid {

/// Combinations that would silently do something else than they say. Each line names both keys,
/// where they stand, and what to do.
std::vector<std::string> contradictions(const RunConfig& config);

/// What these settings ask of a base in few bits that it cannot do. `base` says what makes it one:
/// "quantization_bit = 4", or the folder that was quantised before.
std::vector<std::string> quantised_base_problems(const RunConfig& config, const std::string& base);

}  // namespace isogrid
