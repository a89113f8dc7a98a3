#pragma once
#include <string>
#include <utility>
#include <vector>

#include "configs/load.h"

namespace isogrid {

/// Reads a config written in the test itself; problems name it c.yaml.
inline LoadedConfig loaded_from(const std::string& text,
                                const std::vector<Override>& overrides = {}) {
  return read_run_config(parse_yaml(text, "c.yaml"), "c.yaml", overrides);
}

/// The one problem of a text, "" when there is none, all of them when there are more.
inline std::string problem_of(const std::string& text) {
  std::string all;
  for (const std::string& problem : loaded_from(text).problems)
    all += (all.empty() ? "" : "\n") + problem;
  return all;
}

}  // namespace isogrid
