#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>

namespace isogrid {

/// The weight table[code] * max(left right, lowest): codes times scales of a low rank. What the
/// kinds of look-up-table layers have in common; they differ in what left, right and table are made
/// of.
struct LutFactors {
  at::Tensor codes;  // uint8 [rows, packed_bytes]
  int bits = 4;
  at::Tensor table;  // [2^bits]
  at::Tensor left;   // [rows, rank]
  at::Tensor right;  // [rank, columns]
  double lowest = -std::numeric_limits<double>::infinity();

  int64_t rows() const { return codes.size(0); }
  int64_t columns() const { return right.size(1); }
};

/// Rows [first, last) into `out` [last - first, columns]. Computed in float64 for a float64 `out`,
/// else in float32 and rounded once.
void lut_expand(const LutFactors& factors, at::Tensor& out, int64_t first, int64_t last);

struct LutFactorGradients {
  at::Tensor left, right;
  at::Tensor table;  // undefined unless asked for
};

/// From dL/dW [rows, columns]; float64 for that, else float32. Sums have one order whatever the
/// number of threads.
LutFactorGradients lut_gradients(const LutFactors& factors, const at::Tensor& d_weight,
                                 bool with_table);

/// left right, lifted: [rows, columns] in the type of `left`.
at::Tensor lut_scales(const LutFactors& factors);

/// table[code] [rows, columns], without the scales, in `type`.
at::Tensor lut_values(const LutFactors& factors, at::ScalarType type);

}  // namespace isogrid
