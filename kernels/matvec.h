#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// The rows of x a matvec call may have: enough for a small batch of decoded prompts.
constexpr int64_t kMaxMatvecRows = 32;

/// y[i, n] = sum_k x[i, k] * weight[n, k] + addend[i, n] (null: nothing), rounded once, for n in
/// [first, last) and i < rows <= kMaxMatvecRows. Decoding reads every weight once per token, so
/// this is a stream through memory: a GEMM library would pack the weight first and read it twice.
/// The sum of a row is the same whatever the other rows are, so prompts decoded together give the
/// tokens they give alone. x and the sums are float32; weight, y and addend are of `element`. x:
/// [rows, inputs] contiguous, y: [rows, outputs] contiguous, weight: [outputs, inputs].
struct MatvecKernels {
  void (*matvec)(Element element, const float* x, const void* weight, const void* addend, void* y,
                 int64_t rows, int64_t inputs, int64_t outputs, int64_t first, int64_t last);
};

const MatvecKernels& matvec_kernels();
const MatvecKernels& matvec_kernels(Isa isa);

}  // namespace isogrid::kernels
