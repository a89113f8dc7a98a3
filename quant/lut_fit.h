#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "quant/lut_product.h"

namespace isogrid {

/// What may move of a table while it is fitted.
enum class TableFit {
  fixed,
  symmetric,  // values stay each other's negatives
  free,
};

struct LutFitOptions {
  int sweeps = 6;
  TableFit table = TableFit::fixed;
  at::Tensor importance;  // [columns] or undefined: weight of the squared error of a column
};

/// Lessens sum importance * (weight - table[code] * (left right))^2 from `start` on, by turns:
/// codes go to the nearest value, every row of `left`, every column of `right` and the table solve
/// their least-squares problem with the rest held fixed. Never ends worse than it started. `start`
/// needs no codes. The outermost value of the table becomes 1 in size. float32.
LutFactors fitted_factors(const at::Tensor& weight, const LutFactors& start,
                          const LutFitOptions& options);

/// The table of `count` values (4 or 16) that rounds `units` with least error weighted by `share`,
/// by Lloyd's rounds from quantiles on; symmetric or free, ascending. `fit` is not fixed.
at::Tensor fitted_table(const at::Tensor& units, const at::Tensor& share, int64_t count,
                        TableFit fit);

/// sum importance * (a - b)^2 / sum importance * b^2
double weighted_error(const at::Tensor& a, const at::Tensor& b, const at::Tensor& importance);

}  // namespace isogrid
