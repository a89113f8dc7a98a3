#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// What a checkpoint's manifest says beside its files.
struct CheckpointFacts {
  int64_t step = 0;
  std::string run_id = {};
  std::string config_hash = {};       // of the settings that decide what comes out
  std::string data_fingerprint = {};  // of what is fed
};

/// A checkpoint looked at as bytes only: none of its files has been parsed but the manifest.
struct CheckpointCheck {
  std::string path;
  CheckpointFacts facts;  // empty where the manifest itself is damaged
  std::vector<std::string> problems;
  bool sound() const { return problems.empty(); }
  std::string problems_text() const;  // one per line, indented
};

/// Manifest, exact list of files, sizes, SHA-256 of everything. Never throws for damage; a folder
/// that is not there is exit code 66.
CheckpointCheck check_checkpoint(const std::string& path);

/// The same for a checkpoint that the user named: any problem is exit code 65, with no fallback.
CheckpointFacts verify_checkpoint(const std::string& path);

/// What the manifest says, which is all that is read; none where it is missing or damaged.
std::optional<CheckpointFacts> read_checkpoint_facts(const std::string& path);

}  // namespace isogrid
