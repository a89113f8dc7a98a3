#pragma once
#include <ATen/core/Tensor.h>

#include "models/projection.h"

namespace isogrid {

/// -log p(label) of every labelled row: hidden [tokens, h], rows int64 [n] (the labelled ones),
/// labels int64 [n] -> float32 [n], in the graph of `hidden`.
///
/// Head product and cross-entropy are one node that works in chunks of rows, so the logits never
/// exist whole and rows without a label cost nothing. The gradient of `hidden` is ready when the
/// loss is; backward only scales it by row. A head that trains gets its gradient in backward, from
/// the logits made once more. `head` must outlive the graph.
at::Tensor next_token_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                           const at::Tensor& labels);

/// Plain differentiable operators, the specification: `weight` is the head's matrix.
at::Tensor next_token_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                       const at::Tensor& rows, const at::Tensor& labels);

}  // namespace isogrid
