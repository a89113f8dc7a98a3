#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

// LibTorch's private operators live behind this header: their signatures drift between releases.

namespace isogrid::torch_compat {

/// Flash attention over documents laid end to end (CUDA, half types). q [tokens, heads, d],
/// k and v [keys, kv_heads, d], ends_* int32 [documents + 1] on the device, starting with 0.
/// Causal, aligned at the end of each document's keys; window_left < 0 means no window.
struct VarlenAttention {
  at::Tensor ends_q, ends_k;
  int64_t longest_q = 0, longest_k = 0;
  int64_t window_left = -1;
  double scale = 1.0;
};
struct VarlenResult {
  at::Tensor out, log_sum_exp, rng_state, unused;
};
VarlenResult cuda_varlen_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                   const VarlenAttention& how);
std::tuple<at::Tensor, at::Tensor, at::Tensor> cuda_varlen_attention_backward(
    const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const VarlenResult& forward, const VarlenAttention& how);

}  // namespace isogrid::torch_compat
