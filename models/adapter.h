#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "models/training_noise.h"
#include "quant/weight_source.h"

namespace isogrid {

struct Linear;

/// A low-rank change of one linear (LoRA): scale * (dropout(x) a^T) b^T is added to its product.
/// With a magnitude (DoRA) row j of the changed weight is then brought to the length magnitude[j].
struct Adapter {
  at::Tensor a;          // [rank, in]
  at::Tensor b;          // [out, rank]
  at::Tensor magnitude;  // [out]; undefined: plain LoRA
  double alpha = 1.0;
  double scale = 1.0;    // alpha / rank, or alpha / sqrt(rank)
  double dropout = 0.0;  // in training only
  uint64_t stream = 0;   // tells the dropout draws of this linear from others'
  at::Tensor lengths;    // float32 [out], DoRA only: see refresh_row_lengths()

  int64_t rank() const { return a.size(0); }
};

/// DoRA: the length of every row of W + scale * b a, in float32 and part of no gradient. To be
/// called whenever a, b or W changed.
void refresh_row_lengths(Linear& linear);

/// Is the adapter's product added to the weight's? Else there is none, or it is rounded into it.
bool adds_adapter(const Linear& linear);
/// The change that is rounded together with the weight, where it is.
std::optional<LowRank> rounded_change(const Linear& linear);
/// Adds the gradients of a and b from that of the sum of weight and change, [out, in].
void rounded_adapter_backward(const Adapter& adapter, const at::Tensor& d_sum);

/// What the adapters of a group make of the input they share.
struct AdapterInputs {
  std::vector<at::Tensor> dropped;  // [tokens, in] of each linear; the input itself without dropout
  std::vector<at::Tensor> inner;    // scale * dropped a^T [tokens, rank]; undefined: no adapter
};
AdapterInputs adapter_inputs(const std::vector<Linear>& linears, const at::Tensor& input,
                             const TrainingNoise* noise);

/// The adapters' share of the backward pass of a group. `d_products[i]` [tokens, out] is the
/// gradient of linear i's product (undefined: none); a's and b's gradients are added to them and
/// what flows back through the adapters to `d_input`.
void adapters_backward(const std::vector<Linear>& linears, const AdapterInputs& inputs,
                       const std::vector<at::Tensor>& d_products, const TrainingNoise* noise,
                       at::Tensor& d_input);

}  // namespace isogrid
