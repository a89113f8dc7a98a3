#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

// LibTorch's private operators live behind this header: their signatures drift between releases.

namespace isogrid::torch_compat {

/// Fused attention on the CPU. q [1, heads, n, d], k and v [1, kv_heads, m, d], last dimension
/// contiguous; `bias` (float or bool-like additive, [n, m]) excludes `causal`.
/// Returns the output [1, heads, n, d] and the log-sum-exp of every row, for the backward pass.
std::tuple<at::Tensor, at::Tensor> cpu_attention(const at::Tensor& q, const at::Tensor& k,
                                                 const at::Tensor& v, bool causal,
                                                 const std::optional<at::Tensor>& bias,
                                                 double scale);

std::tuple<at::Tensor, at::Tensor, at::Tensor> cpu_attention_backward(
    const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& log_sum_exp, bool causal,
    const std::optional<at::Tensor>& bias, double scale);

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
