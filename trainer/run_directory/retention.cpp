#include "trainer/run_directory/retention.h"

#include <algorithm>

namespace isogrid {

std::vector<int64_t> steps_to_delete(const std::vector<int64_t>& newest_first,
                                     const Retention& retention,
                                     const std::function<bool(int64_t)>& sound) {
  std::vector<int64_t> doomed;
  if (!retention.limit) return doomed;
  const int64_t wanted = std::max<int64_t>(1, *retention.limit);
  if (static_cast<int64_t>(newest_first.size()) <= wanted) return doomed;
  int64_t kept = 0;
  for (const int64_t step : newest_first) {
    if (kept < wanted)
      kept += sound(step) ? 1 : 0;
    else if (!retention.exempt.contains(step))
      doomed.push_back(step);
  }
  std::reverse(doomed.begin(), doomed.end());
  return doomed;
}

}  // namespace isogrid
