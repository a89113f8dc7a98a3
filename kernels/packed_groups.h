#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Unsigned codes of 2, 3, 4 or 8 bits; a run of columns (a group) of each row shares a scale and a
/// zero point: GPTQ, AWQ and compressed-tensors, brought to one layout. A row is a dense stream of
/// bits, little end first, that begins at a whole 32-bit word.
struct PackedGroups {
  int bits = 4;
  const uint8_t* codes = nullptr;  // [rows][row_bytes]
  int64_t row_bytes = 0;
  int64_t columns = 0;
  const void* scales = nullptr;  // [rows][groups] of `scale_type`
  Element scale_type = Element::f16;
  const uint8_t* zeros = nullptr;  // [rows][groups]; null: `zero` everywhere
  int zero = 8;
  int64_t groups = 1, group_size = 0;
  const int32_t* group_of = nullptr;  // of each column; null: column / group_size
};

struct PackedGroupKernels {
  /// Rows [first, last): scale * (code - zero), rounded to the scale's type, then to `element` (any
  /// of the three). `to` is that of row `first`.
  void (*dequantise)(const PackedGroups& weight, Element element, void* to, int64_t first,
                     int64_t last);
};

/// The same bits from a GPU: every pointer lies there, `stream` is a cudaStream_t. A launch that
/// fails throws std::runtime_error, as does a build without CUDA.
void dequantise_packed_groups_on_device(const PackedGroups& weight, Element element, void* to,
                                        int64_t first, int64_t last, void* stream);

const PackedGroupKernels& packed_group_kernels();
const PackedGroupKernels& packed_group_kernels(Isa isa);

}  // namespace isogrid::kernels
