#pragma once
#include <string>
#include <vector>

#include "quant/registry.h"

namespace isogrid {

/// A tensor that must be there, of one of `types` and of exactly `shape` (-1: any size). Anything
/// else is refused (65) with what came and what is allowed.
at::Tensor required_part(const TensorLookup& find, const std::string& name,
                         const std::vector<at::ScalarType>& types,
                         const std::vector<int64_t>& shape);

/// Columns that share a scale where there are `groups` scales for a row of `inputs`: `wanted` as
/// the folder's settings have it (-1: the whole row) or, where that does not fit this weight, what
/// does.
int64_t grouping(const std::string& name, int64_t groups, int64_t inputs, int64_t wanted);

/// The group of every column, int32 [inputs], each below `groups`.
at::Tensor checked_groups(const TensorLookup& find, const std::string& name, int64_t inputs,
                          int64_t groups);

}  // namespace isogrid
