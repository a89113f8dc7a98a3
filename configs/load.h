#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "configs/run_config.h"
#include "configs/yaml.h"

namespace isogrid {

/// One setting of the command line.
struct Override {
  std::string key;
  std::string value;
  std::string place;  // "--key" or "key=value", for messages
};

/// The settings of a YAML file with the overrides on top and every default filled in. An empty
/// path means no file. All problems are reported at once with exit code 78; what was read under
/// another name, or is only a hint to another stack, is logged.
RunConfig load_run_config(const std::string& path, const std::vector<Override>& overrides);

/// The same without the file system and the log.
struct LoadedConfig {
  RunConfig config;
  std::vector<std::string> notes;
  std::vector<std::string> problems;
};
LoadedConfig read_run_config(const YamlNode& file, const std::string& name,
                             const std::vector<Override>& overrides);

/// Every name a file may use: keys, their other names, and other stacks' keys.
const std::vector<std::string_view>& known_keys();

}  // namespace isogrid
