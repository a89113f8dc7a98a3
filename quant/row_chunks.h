#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace isogrid {

/// body(first, last) over runs of rows that together stay in a cache, shared out to threads. The
/// runs are the same for every number of threads only in that no result may depend on them.
template <typename Body>
void for_row_chunks(int64_t rows, int64_t columns, const Body& body) {
  constexpr int64_t kWeightsPerChunk = 16384;
  at::parallel_for(0, rows, std::max<int64_t>(1, kWeightsPerChunk / std::max<int64_t>(1, columns)),
                   body);
}

}  // namespace isogrid
