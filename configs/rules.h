#pragma once
#include <string>
#include <vector>

#include "configs/run_config.h"

namespace isogrid {

/// Combinations that would silently do something else than they say. Each line names both keys,
/// where they stand, and what to do.
std::vector<std::string> contradictions(const RunConfig& config);

}  // namespace isogrid
