#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"

namespace isogrid::kernels {

/// How a stored scale is rounded. `shared16` keeps what bfloat16 and float16 both hold: eight
/// significant bits, less below 2^-17.
enum class ScaleRounding { none, half, bfloat, shared16 };

/// How a group of neighbouring weights becomes whole numbers in [lowest, highest] and a scale.
/// Symmetric: scale = max(-low / divide_low, high / divide_high) of the group's extremes, widened
/// to hold zero; a weight is code * scale * value_factor. With `has_zero` the scale is
/// (high - low) / divide_high, zero = low - lowest * scale, and a weight is code * scale + zero.
/// Codes are rounded to nearest, ties to even, against the scale as it is stored.
struct IntegerRule {
  int64_t group = 32;  // columns sharing a scale; 0: the whole row
  int32_t lowest = -8, highest = 7;
  float divide_low = 8.0f, divide_high = 7.0f;
  float smallest = 0.0f;      // scales below become this
  float value_factor = 1.0f;  // LLM.int8 stores the largest magnitude and divides it on use
  bool has_zero = false;
  bool by_reciprocal = false;  // codes from x * (1 / scale), not x / scale
  bool half_input = false;     // weights are rounded to float16 first
  ScaleRounding rounding = ScaleRounding::none;
};

/// One row's record: `scales` and `zeros` one each group (zeros only with has_zero), `codes` one
/// each column. Every instruction set gives the same bits.
struct IntegerGridKernels {
  void (*encode)(const IntegerRule& rule, const float* row, int64_t columns, float* scales,
                 float* zeros, int8_t* codes);
  /// New codes under the scales there are.
  void (*recode)(const IntegerRule& rule, const float* row, int64_t columns, const float* scales,
                 const float* zeros, int8_t* codes);
  void (*decode)(const IntegerRule& rule, const float* scales, const float* zeros,
                 const int8_t* codes, int64_t columns, float* row);
  /// decode(encode(row)) without the codes; `row` may be `out`.
  void (*round_trip)(const IntegerRule& rule, const float* row, int64_t columns, float* out);
  /// count scales as they will be stored.
  void (*store_scales)(const IntegerRule& rule, const float* scales, int64_t count, float* stored);
};

const IntegerGridKernels& integer_grid_kernels();
const IntegerGridKernels& integer_grid_kernels(Isa isa);

}  // namespace isogrid::kernels
