#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Block-wise four-bit floats (Dettmers et al., "QLoRA", 2023): each block of a flattened tensor
/// shares one scale, its largest magnitude, and a number is one of sixteen values times it. NF4's
/// values are quantiles of the normal distribution, FP4's those of a tiny floating type.
enum class FourBitCode { nf4, fp4 };

/// The sixteen values by code.
const float* four_bit_values(FourBitCode code);

/// A quantised tensor as it lies in memory. Element 2i is the high nibble of byte i.
struct FourBitTensor {
  const uint8_t* codes = nullptr;
  const float* values = nullptr;  // of the sixteen codes
  int64_t block = 64;             // elements that share a scale; even, the last block may be short
  /// The scale of block b is scales[b] or, where the scales are quantised too,
  /// scale_map[scale_codes[b]] * group_scales[b / group] + offset, rounded twice.
  const float* scales = nullptr;
  const uint8_t* scale_codes = nullptr;
  const float* scale_map = nullptr;  // of 256 codes
  const float* group_scales = nullptr;
  int64_t group = 256;
  float offset = 0;
};

struct FourBitKernels {
  /// Elements [first, last), each value * scale rounded once to `element` (any of the three).
  void (*dequantise)(const FourBitTensor& tensor, Element element, void* to, int64_t first,
                     int64_t last);
  /// Blocks [first, last) of `count` elements: their codes and scales. What bitsandbytes computes
  /// on a CPU, bit for bit: the code is the number of midpoints between neighbouring values that
  /// lie below x / scale. A lone last element is paired with the code of zero.
  void (*quantise)(FourBitCode code, Element element, const void* from, int64_t count,
                   int64_t block, uint8_t* codes, float* scales, int64_t first, int64_t last);
};

/// The same bits from a GPU: every pointer but `values` lies there, `stream` is a cudaStream_t. A
/// launch that fails throws std::runtime_error, as does a build without CUDA.
void dequantise_four_bit_on_device(const FourBitTensor& tensor, Element element, void* to,
                                   int64_t first, int64_t last, void* stream);

const FourBitKernels& four_bit_kernels();
const FourBitKernels& four_bit_kernels(Isa isa);

}  // namespace isogrid::kernels
