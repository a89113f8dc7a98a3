#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Row-wise pieces of a decoder block on the CPU. All pointers are to contiguous rows of `element`;
/// every function works on rows [first, last) so that the caller may share them out to threads.
/// Arithmetic is float32; the result is rounded once.
struct ElementwiseKernels {
  /// y = x / sqrt(mean(x^2) + eps) * weight
  void (*rms_norm)(Element element, const void* x, const void* weight, void* y, int64_t first,
                   int64_t last, int64_t columns, float eps);
  /// dx from dy; adds the rows' share of dL/dweight to d_weight[columns] (may be null).
  void (*rms_norm_backward)(Element element, const void* x, const void* weight, const void* dy,
                            void* dx, float* d_weight, int64_t first, int64_t last, int64_t columns,
                            float eps);
  /// y = silu(gate) * up
  void (*swiglu)(Element element, const void* gate, const void* up, void* y, int64_t first,
                 int64_t last, int64_t columns);
  void (*swiglu_backward)(Element element, const void* gate, const void* up, const void* dy,
                          void* d_gate, void* d_up, int64_t first, int64_t last, int64_t columns);
  /// y[token, head, :] = rotate(norm(x[token, head, :])). `weight` null: no norm; `cosine` null: no
  /// rotation. cosine, sine: float32 [tokens, head_dim / 2], half-rotation order.
  void (*norm_rope)(Element element, const void* x, const void* weight, const float* cosine,
                    const float* sine, void* y, int64_t first, int64_t last, int64_t heads,
                    int64_t head_dim, float eps);
  void (*norm_rope_backward)(Element element, const void* x, const void* weight,
                             const float* cosine, const float* sine, const void* dy, void* dx,
                             float* d_weight, int64_t first, int64_t last, int64_t heads,
                             int64_t head_dim, float eps);
};

const ElementwiseKernels& elementwise_kernels();
/// A given table, for tests; falls back to baseline where the processor lacks it.
const ElementwiseKernels& elementwise_kernels(Isa isa);

}  // namespace isogrid::kernels
