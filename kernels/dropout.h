#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// One token's stream of random numbers: a Philox4x32-10 key. Feature f of the token takes word
/// f % 4 of block f / 4 (counter {f / 4, 0, 0, 0}), of which the upper 24 bits count, as in
/// Rng::uniform().
struct TokenKey {
  uint32_t words[2];
};

/// Rows of `columns` features, contiguous, of type f32, bf16 or f16; row i draws from keys[i]. Work
/// is on rows [first, last); y may be x. Every instruction set gives the same bits.
struct DropoutKernels {
  /// y = x / (1 - probability) where uniform >= probability, else 0. Its own backward pass.
  void (*dropout)(Element element, const void* x, void* y, const TokenKey* keys, double probability,
                  int64_t first, int64_t last, int64_t columns);
  /// y = x + (2 uniform - 1) * amplitudes[row]
  void (*add_noise)(Element element, const void* x, void* y, const TokenKey* keys,
                    const float* amplitudes, int64_t first, int64_t last, int64_t columns);
};

const DropoutKernels& dropout_kernels();
/// A given table, for tests; falls back to baseline where the processor lacks it.
const DropoutKernels& dropout_kernels(Isa isa);

}  // namespace isogrid::kernels
