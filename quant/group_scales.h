#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace isogrid {

/// One scale for each row and each group of `group` columns (the last may be shorter):
/// [rows, groups], at least 1e-8. The largest magnitude of the group.
at::Tensor largest_group_scales(const at::Tensor& weight, int64_t group);

/// The scales with which rounding to `table` (ascending, outermost values +-1 or so) errs least in
/// the mean square, columns weighted by `importance` [columns] where it is defined.
at::Tensor best_group_scales(const at::Tensor& weight, int64_t group, const at::Tensor& table,
                             const at::Tensor& importance);

/// Scales of a low rank: the matrix a diag(g) b with unit columns in a, unit rows in b.
struct ScaleDirections {
  at::Tensor a;  // [rows, rank]
  at::Tensor b;  // [rank, columns]
  at::Tensor g;  // [rank], falling
};

/// The best approximation of rank `rank` to group scales spread over their columns. Directions
/// beyond the rank of the scales are random unit vectors (drawn by `seed`) orthogonal to the rest;
/// magnitudes are at least `floor` times the largest.
ScaleDirections scale_directions(const at::Tensor& group_scales, int64_t group, int64_t columns,
                                 int64_t rank, double floor, uint64_t seed);

/// left right as directions, by its singular vectors.
ScaleDirections directions_of_product(const at::Tensor& left, const at::Tensor& right);

/// `count` more directions, random and orthogonal to those there are, of magnitude `size`.
ScaleDirections widened_directions(const ScaleDirections& directions, int64_t count, double size,
                                   uint64_t seed);

}  // namespace isogrid
