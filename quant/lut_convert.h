#pragma once
#include "quant/lut_start.h"

namespace isogrid {

/// V1's factors as directions and magnitudes. Codes are those of the weight that V1 serves, so it
/// changes only where V1 lifts a scale and by what float16 makes of the factors. The table is kept.
LutV2Parts v2_of_v1(const std::string& name, const LutV1Weight& v1, bool half);

struct LutNarrowing {
  int bits = 2;
  int64_t rank = 32;
  bool half = true;
  at::Tensor importance;  // [in] or undefined
  uint64_t seed = 0;
};

/// A layer of another table size or rank that stands for `wanted` [out, in] (the weight `from`
/// serves, or a better reference): the table by weighted Lloyd's rounds on wanted / scales, further
/// ranks for what the others leave, all scales fitted again by alternating least squares.
LutV2Parts narrowed(const std::string& name, const LutV2Weight& from, const at::Tensor& wanted,
                    const LutNarrowing& to);

/// Four values for sixteen by the plain rule of earlier tools: means of the values themselves, each
/// counted once. For comparison; it keeps neither symmetry nor the end of the table.
at::Tensor four_of_sixteen(const at::Tensor& values);

/// More ranks that change (almost) nothing: random directions of magnitude `size`.
LutV2Parts widened(const LutV2Parts& parts, int64_t rank, double size, uint64_t seed);

}  // namespace isogrid
