#include "core/torch_compat.h"

#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>

namespace isogrid::torch_compat {
namespace {

std::optional<int64_t> left_of(const VarlenAttention& how) {
  if (how.window_left < 0) return std::nullopt;
  return how.window_left;
}
std::optional<int64_t> right_of(const VarlenAttention& how) {
  if (how.window_left < 0) return std::nullopt;
  return 0;
}

}  // namespace

VarlenResult cuda_varlen_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                   const VarlenAttention& how) {
  auto [out, log_sum_exp, rng_state, unused, mask] = at::_flash_attention_forward(
      q, k, v, how.ends_q, how.ends_k, how.longest_q, how.longest_k, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, how.scale, left_of(how), right_of(how));
  return {out, log_sum_exp, rng_state, unused};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> cuda_varlen_attention_backward(
    const at::Tensor& d_out, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const VarlenResult& forward, const VarlenAttention& how) {
  return at::_flash_attention_backward(d_out, q, k, v, forward.out, forward.log_sum_exp, how.ends_q,
                                       how.ends_k, how.longest_q, how.longest_k,
                                       /*dropout_p=*/0.0, /*is_causal=*/true, forward.rng_state,
                                       forward.unused, how.scale, left_of(how), right_of(how));
}

}  // namespace isogrid::torch_compat
