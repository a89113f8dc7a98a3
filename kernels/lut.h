#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Columns of `right` and of its gradient are whole vectors; what is beyond the matrix is zero.
constexpr int64_t kLutLanes = 16;

/// The weight table[code] * max(left right, lowest), [rows, columns] with scales of rank `rank`.
struct LutWeight {
  const uint8_t*
      codes;  // [rows, code_bytes]; code c of a row lies at bit c * bits, little end first
  int64_t code_bytes;
  int bits;            // 2 or 4
  const float* table;  // [2^bits]
  const float* left;   // [rows, rank]
  const float* right;  // [rank, wide], wide: columns rounded up to kLutLanes
  int64_t columns, rank;
  float lowest = -__builtin_inff();
};

/// What accumulates the gradients of a run of rows. d_right and d_table are added to, d_left is
/// written; d_table may be null.
struct LutGradients {
  float* d_left;   // [rows, rank]
  float* d_right;  // [rank, wide]
  float* d_table;  // [2^bits]
};

struct LutKernels {
  /// Rows [first, last) of the weight into `out`, whose first row is row `first`, contiguous.
  void (*expand)(const LutWeight& weight, Element element, void* out, int64_t first, int64_t last);
  /// From dL/dW of rows [first, last), read once; `d_weight` is that of the whole matrix.
  /// `right_turned` [wide, rank rounded up to kLutLanes] is `right`, turned, zero beyond it.
  /// `scratch` has room for gradient_scratch(rank) floats.
  void (*gradients)(const LutWeight& weight, const float* right_turned, Element element,
                    const void* d_weight, int64_t first, int64_t last, const LutGradients& to,
                    float* scratch);
  int64_t (*gradient_scratch)(int64_t rank);
};

const LutKernels& lut_kernels();
const LutKernels& lut_kernels(Isa isa);

}  // namespace isogrid::kernels
