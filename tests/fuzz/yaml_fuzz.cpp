// A config file and overrides from a stranger: read, or refused with our own error; nothing else.
// A record separator (0x1e) stands between the file and each `key=value`.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "configs/load.h"
#include "configs/reference.h"
#include "core/error.h"

namespace {

std::vector<std::string> split(std::string_view data) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= data.size();) {
    const size_t end = std::min(data.find('\x1e', begin), data.size());
    parts.emplace_back(data.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

void check_round_trip(const isogrid::RunConfig& config) {
  const std::string printed = isogrid::config_as_yaml(config);
  const auto again = isogrid::read_run_config(isogrid::parse_yaml(printed, "again"), "again", {});
  if (!again.problems.empty() || isogrid::config_as_yaml(again.config) != printed) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<std::string> parts = split({reinterpret_cast<const char*>(data), size});
  std::vector<isogrid::Override> overrides;
  for (size_t i = 1; i < parts.size(); ++i) {
    const size_t equals = std::min(parts[i].find('='), parts[i].size());
    const size_t value = std::min(equals + 1, parts[i].size());
    overrides.push_back({parts[i].substr(0, equals), parts[i].substr(value), parts[i]});
  }
  try {
    const auto file = isogrid::parse_yaml(parts[0], "fuzz.yaml");
    const auto loaded = isogrid::read_run_config(file, "fuzz.yaml", overrides);
    constexpr size_t every = 16;  // printing and reading all keys takes most of the time
    if (loaded.problems.empty() && size % every == 0) check_round_trip(loaded.config);
  } catch (const isogrid::Error&) {
  }
  return 0;
}
