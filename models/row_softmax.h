#pragma once
#include <ATen/core/Tensor.h>

namespace isogrid {

/// log(sum(exp(x / temperature))) of every row of logits [rows, columns], at least float32 [rows].
/// Minus infinity takes a column out; a row of nothing else sums to minus infinity.
at::Tensor row_log_sums(const at::Tensor& logits, double temperature);

/// A softmax of rows at a temperature, each row of it times its factor.
struct RowSoftmax {
  double temperature = 1;
  at::Tensor log_sums;  // [rows]
  at::Tensor factors;   // [rows]
};
/// The logits become the softmax, plus `other` where its factors are defined; in their place.
void soften_rows(at::Tensor& logits, const RowSoftmax& one, const RowSoftmax& other = {});

/// Whether our kernels work on these logits as they are; others should be widened first, or small
/// probabilities are lost between two roundings.
bool softens_in_place(const at::Tensor& logits);

}  // namespace isogrid
