#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json_fwd.h"

namespace isogrid {

/// One thing that two runs do not have in common. Empty: not there.
struct Difference {
  std::string what;  // a setting, "data.json files.0.sha256", "loss_bits"
  std::string first, second;
};

struct RunDifferences {
  std::vector<Difference> settings;  // in the order of the config; where a run writes is left out
  std::vector<Difference> facts;     // of data.json, model.json and env.json
  int64_t steps_compared = 0;        // equal ones before the first that differs
  std::optional<int64_t> step;       // the first that differs
  std::vector<Difference> at_step;   // what differs there

  bool equal() const { return settings.empty() && facts.empty() && !step; }
};

/// Compares the folders (or the training logs) of two runs. Missing: 66; unreadable: 65.
RunDifferences compare_runs(const std::string& first, const std::string& second);

Json differences_json(const RunDifferences& differences);

}  // namespace isogrid
