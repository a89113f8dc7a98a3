#pragma once
#include <cstddef>
#include <cstdint>

#include "quant/grid.h"

namespace isogrid {

/// Replaces the scales of a row's record, and with them its codes, by those with the least squared
/// error to be had by multiplying each with one factor. A scale that is to stay for a whole run
/// need not reach the largest weight of its block: with two bits that costs most of the others.
/// For grids with scales() that recodes().
void fit_scales(const Grid& grid, const float* row, int64_t columns, std::byte* record);

}  // namespace isogrid
