#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Eight-bit rows (Dettmers et al., "LLM.int8()", 2022): each row of a matrix has one scale, the
/// largest magnitude of its numbers rounded to float16; 127 stands for it.
struct Int8RowKernels {
  /// Rows [first, last): code * scale * (1 / 127), the product rounded after each factor, then once
  /// to `element` (any of the three). `to` is that of row `first`.
  void (*dequantise)(const int8_t* codes, const float* scales, Element element, void* to,
                     int64_t first, int64_t last, int64_t columns);
  /// Rows [first, last): what bitsandbytes computes on a CPU, bit for bit. A row of zeros has the
  /// scale 0.
  void (*quantise)(Element element, const void* from, int8_t* codes, float* scales, int64_t first,
                   int64_t last, int64_t columns);
};

/// The same bits from a GPU: every pointer lies there, `stream` is a cudaStream_t. A launch that
/// fails throws std::runtime_error, as does a build without CUDA.
void dequantise_int8_rows_on_device(const int8_t* codes, const float* scales, Element element,
                                    void* to, int64_t first, int64_t last, int64_t columns,
                                    void* stream);

const Int8RowKernels& int8_row_kernels();
const Int8RowKernels& int8_row_kernels(Isa isa);

}  // namespace isogrid::kernels
