#include "models/document_attention.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

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

kernels::Element attention_element(const at::Tensor& q) {
  return *any_kernel_element(q.scalar_type());
}

kernels::AttentionShape attention_shape(const Attention& attention) {
  return {.heads = attention.heads,
          .kv_heads = attention.kv_heads,
          .head_dim = attention.head_dim,
          .window = attention.window,
          .scale = static_cast<float>(attention_scale(attention))};
}

/// body(piece, scratch) for every piece; each thread takes the next one that is left.
template <typename Kernel, typename Body>
void for_attention_pieces(const Kernel& kernel, const kernels::AttentionShape& shape,
                          const std::vector<kernels::AttentionPiece>& pieces, const Body& body) {
  if (pieces.empty()) return;
  int64_t floats = 0;
  for (const auto& piece : pieces) floats = std::max(floats, kernel.scratch(shape, piece));
  std::atomic<size_t> next{0};
  const auto threads = std::min<int64_t>(at::get_num_threads(), std::ssize(pieces));
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    const auto scratch = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(floats));
    for (size_t i = next++; i < pieces.size(); i = next++) body(pieces[i], scratch.get());
  });
}

}  // namespace

bool has_cpu_attention(const at::Tensor& q) {
  return q.is_cpu() && any_kernel_element(q.scalar_type());
}

AttendedDocuments attend_documents_on_cpu(const Attention& attention, const at::Tensor& q,
                                          const at::Tensor& k, const at::Tensor& v,
                                          const std::vector<kernels::AttentionSpan>& documents) {
  const auto shape = attention_shape(attention);
  const auto& kernel = kernels::attention_kernels();
  AttendedDocuments result{at::empty(q.sizes(), q.options()),
                           at::empty({q.size(0), attention.heads}, q.options().dtype(at::kFloat))};
  const kernels::AttentionInputs in{q.const_data_ptr(), k.const_data_ptr(), v.const_data_ptr()};
  for_attention_pieces(kernel, shape, kernels::attention_pieces(shape, documents),
                       [&](const kernels::AttentionPiece& piece, float* scratch) {
                         kernel.forward(attention_element(q), shape, piece, in,
                                        result.out.mutable_data_ptr(),
                                        result.log_sum_exp.mutable_data_ptr<float>(), scratch);
                       });
  return result;
}

QkvGradients attend_documents_on_cpu_backward(
    const Attention& attention, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const AttendedDocuments& forward, const at::Tensor& d_out,
    const std::vector<kernels::AttentionSpan>& documents) {
  const auto shape = attention_shape(attention);
  const auto& kernel = kernels::attention_backward_kernels();
  const auto waves = kernels::attention_backward_waves(shape, documents);
  const bool rounds = q.scalar_type() != at::kFloat && waves.size() > 1;
  const auto options = rounds ? q.options().dtype(at::kFloat) : q.options();
  QkvGradients result{at::empty(q.sizes(), options), at::empty(k.sizes(), options),
                      at::empty(v.sizes(), options)};
  const kernels::AttentionInputs in{
      q.const_data_ptr(),     k.const_data_ptr(),
      v.const_data_ptr(),     forward.out.const_data_ptr(),
      d_out.const_data_ptr(), forward.log_sum_exp.const_data_ptr<float>()};
  const kernels::AttentionGradients gradients{
      attention_element(result.q), result.q.mutable_data_ptr(), result.k.mutable_data_ptr(),
      result.v.mutable_data_ptr()};
  for (const auto& wave : waves)
    for_attention_pieces(
        kernel, shape, wave, [&](const kernels::AttentionPiece& piece, float* scratch) {
          kernel.backward(attention_element(q), shape, piece, in, gradients, scratch);
        });
  if (rounds)
    for (at::Tensor* gradient : {&result.q, &result.k, &result.v})
      *gradient = gradient->to(q.scalar_type());
  return result;
}

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

at::Tensor attend_document(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v) {
  if (has_cpu_attention(q))
    return attend_documents_on_cpu(attention, q, k, v, {{0, q.size(0), 0, k.size(0)}}).out;
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
