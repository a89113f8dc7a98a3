#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace isogrid {

inline constexpr const char* kLockName = "LOCK";
inline constexpr const char* kRunName = "run.json";

/// "checkpoint-120". No other name is a checkpoint's: no sign, no leading zero, no suffix.
std::string checkpoint_name(int64_t step);
std::optional<int64_t> checkpoint_step(std::string_view name);

/// Names of work in progress: ".tmp-<what>-<16 hex>" is written, ".trash-<what>-<16 hex>" deleted.
std::string temporary_name(std::string_view what);
std::string trash_name(std::string_view what);

/// What an interrupted process left: those two, and the ".<name>.tmp-<16 hex>" of single files.
bool is_leftover(std::string_view name);

/// What a run writes into its folder, leftovers aside. Everything else belongs to somebody else.
bool is_run_entry(std::string_view name);

}  // namespace isogrid
