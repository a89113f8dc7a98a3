#pragma once
#include <ATen/core/Tensor.h>

namespace isogrid {

/// log(sum(exp(x))) - (1 - smoothing) x[label] - smoothing mean(x) of every row of logits
/// [rows, vocabulary], labels int64 [rows]; at least float32 [rows].
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double smoothing = 0);

struct DifferentiatedCrossEntropy {
  at::Tensor losses;    // at least float32 [rows]
  at::Tensor d_logits;  // [rows, vocabulary], in the place of the logits where our kernel serves
};

/// The same with its gradient, every row of it times its factor (float32 [rows]; undefined: 1).
/// The logits are given up.
DifferentiatedCrossEntropy differentiate_cross_entropy(at::Tensor logits, const at::Tensor& labels,
                                                       double smoothing = 0,
                                                       const at::Tensor& factors = {});

}  // namespace isogrid
