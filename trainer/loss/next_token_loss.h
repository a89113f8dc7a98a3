#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "models/projection.h"

namespace isogrid {

struct LossOptions {
  double label_smoothing = 0;  // this share of the target is spread evenly over the vocabulary
  /// What backward will multiply every row's loss with, where that is known beforehand. A head that
  /// trains then gets its gradient in forward, from the logits at hand; else backward makes the
  /// logits once more.
  std::optional<double> known_factor = {};
};

/// The loss of every labelled row: hidden [tokens, h], rows int64 [n] (the labelled ones), labels
/// int64 [n] -> float32 [n], in the graph of `hidden`. With smoothing e it is
/// (1 - e) * -log p(label) + e * the mean of -log p over the vocabulary.
///
/// Head product and cross-entropy are one node that works in chunks of rows, so the logits never
/// exist whole and rows without a label cost nothing. The gradient of `hidden` is ready when the
/// loss is; backward only scales it by row. `head` must outlive the graph.
at::Tensor next_token_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                           const at::Tensor& labels, const LossOptions& options = {});

/// Rows of logits that exist at a time.
int64_t loss_rows_per_chunk(int64_t vocabulary, bool head_trains);

/// Plain differentiable operators, the specification: `weight` is the head's matrix.
at::Tensor next_token_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                       const at::Tensor& rows, const at::Tensor& labels,
                                       double label_smoothing = 0);

}  // namespace isogrid
