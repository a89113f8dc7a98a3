#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/trainer/run_directory/recorded_io.h"

namespace isogrid {

/// What a disk may hold after the power failed: path below the root -> content; folders end in '/'.
struct CrashState {
  std::map<std::string, std::string> files;
  int64_t acknowledged = -1;  // the last step whose safety had been promised
};

/// Every moment of the log is a crash, and at each of them the disk may hold, of every file, what
/// was last synced or of later data nothing, half, all, or zeros; and of every folder, any subset
/// of the changes of its entries since its last sync. All combinations where they are few, else
/// `most` of them at random with the two extremes; each different state once. `visit` says whether
/// to go on.
void for_each_crash_state(const std::vector<Operation>& log, size_t most, uint64_t seed,
                          const std::function<bool(const CrashState&)>& visit);

}  // namespace isogrid
