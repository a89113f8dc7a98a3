#include "models/document_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/torch_compat.h"
#include "kernels/attention.h"
#include "models/cpu_rows.h"

namespace isogrid {
namespace {

/// A run of queries that one call of LibTorch's kernel serves: rows [q_begin, q_end) against keys
/// [k_begin, k_end). `bias` undefined and not causal: every key is seen.
struct Stretch {
  int64_t q_begin, q_end, k_begin, k_end;
  bool causal;
  at::Tensor bias;
};

/// With a window or a cache the queries go in runs of this many, so that the bias stays small.
constexpr int64_t kQueriesPerStretch = 256;

std::vector<Stretch> stretches_of(const Attention& attention, int64_t queries, int64_t keys,
                                  at::TensorOptions options) {
  const bool windowed = attention.window > 0 && keys > attention.window;
  const int64_t past = keys - queries;
  if (past == 0 && !windowed) return {{0, queries, 0, queries, /*causal=*/true, {}}};
  std::vector<Stretch> stretches;
  for (int64_t begin = 0; begin < queries; begin += kQueriesPerStretch) {
    const int64_t end = std::min(queries, begin + kQueriesPerStretch);
    const int64_t first = windowed ? std::max<int64_t>(0, past + begin - attention.window + 1) : 0;
    Stretch stretch{begin, end, first, past + end, /*causal=*/false, {}};
    if (end - begin > 1) {
      const int64_t seen = stretch.k_end - first;
      const bool like_last = !stretches.empty() && stretches.back().bias.defined() &&
                             stretches.back().bias.size(0) == end - begin &&
                             stretches.back().bias.size(1) == seen;
      stretch.bias = like_last
                         ? stretches.back().bias
                         : visibility(attention, end - begin, seen, past + begin - first, options);
    }
    stretches.push_back(std::move(stretch));
  }
  return stretches;
}

/// [n, heads, d] -> the [1, heads, n, d] view LibTorch's kernels want.
at::Tensor as_batch(const at::Tensor& x, int64_t begin, int64_t end) {
  return x.slice(0, begin, end).unsqueeze(0).transpose(1, 2);
}
at::Tensor from_batch(const at::Tensor& x) { return x.transpose(1, 2).squeeze(0); }

std::optional<at::Tensor> optional_of(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

bool own_kernel_serves(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto element = cpu_kernel_element(q);
  return element && cpu_kernel_element(k) == element && cpu_kernel_element(v) == element;
}

AttendedDocument attend_by_own_kernel(const Attention& attention, const at::Tensor& q,
                                      const at::Tensor& k, const at::Tensor& v) {
  const auto& kernel = kernels::attention_kernels();
  const kernels::AttentionShape shape{.queries = q.size(0),
                                      .keys = k.size(0),
                                      .heads = attention.heads,
                                      .kv_heads = attention.kv_heads,
                                      .head_dim = attention.head_dim,
                                      .window = attention.window,
                                      .scale = static_cast<float>(attention_scale(attention))};
  AttendedDocument result{at::empty(q.sizes(), q.options()),
                          at::empty({1, attention.heads, q.size(0)}, at::kFloat)};
  at::parallel_for(0, kernel.units(shape), 1, [&](int64_t first, int64_t last) {
    std::vector<float> scratch(static_cast<size_t>(kernel.scratch(shape)));
    kernel.forward(*cpu_kernel_element(q), shape, q.const_data_ptr(), k.const_data_ptr(),
                   v.const_data_ptr(), result.out.mutable_data_ptr(),
                   result.log_sum_exp.mutable_data_ptr<float>(), scratch.data(), first, last);
  });
  return result;
}

}  // namespace

double attention_scale(const Attention& attention) {
  return 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
}

at::TensorOptions bias_options(const at::Tensor& q) {
  return q.options().dtype(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

at::Tensor visibility(const Attention& attention, int64_t queries, int64_t keys, int64_t key_offset,
                      at::TensorOptions options) {
  const at::Tensor behind = at::arange(queries, options.dtype(at::kLong)).unsqueeze(1) +
                            key_offset - at::arange(keys, options.dtype(at::kLong)).unsqueeze(0);
  at::Tensor hidden = behind.lt(0);
  if (attention.window > 0) hidden = hidden.logical_or(behind.ge(attention.window));
  return at::zeros({queries, keys}, options)
      .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

AttendedDocument attend_document_on_cpu(const Attention& attention, const at::Tensor& q,
                                        const at::Tensor& k, const at::Tensor& v) {
  if (own_kernel_serves(q, k, v)) return attend_by_own_kernel(attention, q, k, v);
  std::vector<at::Tensor> outs, log_sum_exps;
  for (const Stretch& s : stretches_of(attention, q.size(0), k.size(0), bias_options(q))) {
    auto [out, log_sum_exp] = torch_compat::cpu_attention(
        as_batch(q, s.q_begin, s.q_end), as_batch(k, s.k_begin, s.k_end),
        as_batch(v, s.k_begin, s.k_end), s.causal, optional_of(s.bias), attention_scale(attention));
    outs.push_back(from_batch(out));
    log_sum_exps.push_back(log_sum_exp);
  }
  return {at::cat(outs, 0), at::cat(log_sum_exps, 2)};
}

QkvGradients attend_document_on_cpu_backward(const Attention& attention, const at::Tensor& q,
                                             const at::Tensor& k, const at::Tensor& v,
                                             const AttendedDocument& forward,
                                             const at::Tensor& d_out) {
  const auto stretches = stretches_of(attention, q.size(0), k.size(0), bias_options(q));
  std::vector<at::Tensor> d_queries;
  QkvGradients gradients;
  for (const Stretch& s : stretches) {
    auto [dq, dk, dv] = torch_compat::cpu_attention_backward(
        as_batch(d_out, s.q_begin, s.q_end), as_batch(q, s.q_begin, s.q_end),
        as_batch(k, s.k_begin, s.k_end), as_batch(v, s.k_begin, s.k_end),
        as_batch(forward.out, s.q_begin, s.q_end),
        forward.log_sum_exp.slice(2, s.q_begin, s.q_end).contiguous(), s.causal,
        optional_of(s.bias), attention_scale(attention));
    if (stretches.size() == 1) return {from_batch(dq), from_batch(dk), from_batch(dv)};
    if (!gradients.k.defined()) gradients = {{}, at::zeros_like(k), at::zeros_like(v)};
    gradients.k.slice(0, s.k_begin, s.k_end).add_(from_batch(dk));
    gradients.v.slice(0, s.k_begin, s.k_end).add_(from_batch(dv));
    d_queries.push_back(from_batch(dq));
  }
  gradients.q = at::cat(d_queries, 0);
  return gradients;
}

at::Tensor attend_document(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v) {
  if (q.is_cpu() && q.scalar_type() != at::kDouble)
    return attend_document_on_cpu(attention, q, k, v).out;
  std::vector<at::Tensor> outs;
  for (const Stretch& s : stretches_of(attention, q.size(0), k.size(0), bias_options(q))) {
    const at::Tensor bias = s.bias.defined() ? s.bias.to(q.scalar_type()) : s.bias;
    outs.push_back(from_batch(at::scaled_dot_product_attention(
        as_batch(q, s.q_begin, s.q_end), as_batch(k, s.k_begin, s.k_end),
        as_batch(v, s.k_begin, s.k_end), optional_of(bias), /*dropout_p=*/0.0, s.causal,
        attention_scale(attention), /*enable_gqa=*/true)));
  }
  return at::cat(outs, 0);
}

}  // namespace isogrid
