#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace isogrid {

/// What `trainer verify` found in a folder, or in a single safetensors file.
struct Verification {
  struct Check {
    std::string subject;  // a file's name, "weights", ...
    std::string finding;  // "ok, 290 tensors, 1.13 GiB", or what is wrong, for people
    bool sound = true;
  };
  std::vector<Check> checks;
  uint64_t tensors = 0;
  uint64_t bytes = 0;

  bool sound() const;
};

/// Checks everything it finds and never stops at the first problem: the manifest where there is
/// one, every JSON file, every shard and the index, every weight for NaN and infinity. Only a
/// path that is not there is an error (66).
Verification verify_model(const std::string& path);

}  // namespace isogrid
