#pragma once
#include <string>

#include "configs/run_config.h"

namespace isogrid {

/// Every setting as YAML, one line each, sorted into groups. Reading it back and printing again
/// gives the same bytes.
std::string config_as_yaml(const RunConfig& config);

/// The page docs/config.md.
std::string config_reference();

}  // namespace isogrid
