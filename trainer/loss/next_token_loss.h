#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "models/projection.h"
#include "trainer/loss/head_loss.h"

namespace isogrid {

struct LossOptions {
  double label_smoothing = 0;  // this share of the target is spread evenly over the vocabulary
  std::optional<double> known_factor = {};  // see head_loss()
};

/// The loss of every labelled row: hidden [tokens, h], rows int64 [n] (the labelled ones), labels
/// int64 [n] -> float32 [n], in the graph of `hidden`. With smoothing e it is
/// (1 - e) * -log p(label) + e * the mean of -log p over the vocabulary. Rows without a label cost
/// nothing.
at::Tensor next_token_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                           const at::Tensor& labels, const LossOptions& options = {});

/// Plain differentiable operators, the specification: `weight` is the head's matrix.
at::Tensor next_token_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                       const at::Tensor& rows, const at::Tensor& labels,
                                       double label_smoothing = 0);

}  // namespace isogrid
