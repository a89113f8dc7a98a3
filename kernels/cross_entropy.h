#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Rows of logits (f32, bf16 or f16), contiguous, and the label of each.
struct LabelledLogits {
  Element element = Element::f32;
  void* logits = nullptr;  // [rows, columns]
  const int64_t* labels = nullptr;
  int64_t columns = 0;
  double smoothing = 0;  // this share of the target is spread over all columns evenly
};

/// Rows of logits (f32, bf16 or f16), contiguous; minus infinity takes a column out.
struct LogitRows {
  Element element = Element::f32;
  void* logits = nullptr;  // [rows, columns]
  int64_t columns = 0;
};
/// A softmax of rows at a temperature, each row of it times its factor.
struct ScaledSoftmax {
  float inverse_temperature = 1;
  const float* log_sums = nullptr;  // [rows], 0 for a row that is all minus infinity
  const float* factors = nullptr;   // [rows]
};

/// Work is on rows [first, last). Sums are float32 within a few thousand columns, float64 beyond.
struct CrossEntropyKernels {
  /// losses[row] = log(sum(exp(x))) - (1 - smoothing) x[label] - smoothing mean(x)
  void (*losses)(const LabelledLogits& in, float* losses, int64_t first, int64_t last);
  /// The same; then the logits become their gradient, factors[row] (null: 1) times
  /// softmax(x) - (1 - smoothing) onehot(label) - smoothing / columns, rounded once.
  void (*differentiate)(const LabelledLogits& in, float* losses, const float* factors,
                        int64_t first, int64_t last);
  /// sums[row] = log(sum(exp(x / T)))
  void (*log_sums)(const LogitRows& in, float inverse_temperature, float* sums, int64_t first,
                   int64_t last);
  /// x becomes factor exp(x / T - log_sum), plus the same of a second softmax (null: none).
  void (*softmaxes)(const LogitRows& in, const ScaledSoftmax& one, const ScaledSoftmax* other,
                    int64_t first, int64_t last);
};

const CrossEntropyKernels& cross_entropy_kernels();
/// A given table, for tests; falls back to baseline where the processor lacks it.
const CrossEntropyKernels& cross_entropy_kernels(Isa isa);

}  // namespace isogrid::kernels
