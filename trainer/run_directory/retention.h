#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <vector>

namespace isogrid {

/// Which checkpoints stay.
struct Retention {
  std::optional<int64_t> limit = {};  // save_total_limit: the newest so many; none keeps all
  std::set<int64_t> exempt = {};      // the best one, and whatever else must stay
};

/// The steps to delete, oldest first. `newest_first` lists what is there; `sound` says whether a
/// checkpoint can be resumed from, and is asked of no more than are needed. Only sound ones count
/// as kept, so nothing is deleted unless `limit` newer ones are known to be whole.
std::vector<int64_t> steps_to_delete(const std::vector<int64_t>& newest_first,
                                     const Retention& retention,
                                     const std::function<bool(int64_t)>& sound);

}  // namespace isogrid
