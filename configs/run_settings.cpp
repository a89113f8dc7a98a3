#include "configs/run_settings.h"

#include <algorithm>

namespace isogrid {

std::string problem_with_device(const std::string& device) {
  if (device == "auto" || device == "cpu" || device == "cuda") return {};
  const std::string number = device.starts_with("cuda:") ? device.substr(5) : "";
  const bool is_number =
      !number.empty() && number.size() <= 3 &&
      std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (is_number) return {};
  if (device == "mps" || device.starts_with("mps:")) return "Apple's GPUs are not supported";
  return "not a device";
}

}  // namespace isogrid
