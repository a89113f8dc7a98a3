#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "models/cross_entropy.h"
#include "models/projection.h"

namespace isogrid {

/// A loss of rows of logits, and its gradient: what head_loss() works in chunks of.
class LogitsLoss {
 public:
  virtual ~LogitsLoss() = default;
  /// Of rows [first, first + n) of those it was made for: losses, at least float32 [n], and the
  /// gradient, each row of it times its factor (undefined: 1). The logits [n, vocabulary] are given
  /// up.
  virtual DifferentiatedCrossEntropy differentiate(at::Tensor logits, int64_t first,
                                                   const at::Tensor& factors) const = 0;
};

/// The loss of every row: hidden [tokens, h], rows int64 [n] -> [n], in the graph of `hidden`.
///
/// Head product and loss are one node that works in chunks of rows, so the logits never exist
/// whole. The gradient of `hidden` is ready when the loss is; backward only scales it by row.
/// `known_factor`: what backward will multiply every row with, where that is known beforehand; a
/// head that trains then gets its gradient in forward, from the logits at hand, else backward makes
/// the logits once more. `head` must outlive the graph.
at::Tensor head_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                     std::shared_ptr<const LogitsLoss> loss,
                     std::optional<double> known_factor = {});

/// Rows of logits that exist at a time.
int64_t loss_rows_per_chunk(int64_t vocabulary, bool head_trains);

/// Rows of a head's gradient that are made before they are added, where the head takes them so.
int64_t head_gradient_rows(int64_t hidden);

/// Refuses (70) a backward pass that scales by something else than it said it would.
void check_known_factor(const at::Tensor& d_losses, double known_factor);

}  // namespace isogrid
