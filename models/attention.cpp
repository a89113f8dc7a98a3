#include "models/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

#include "core/torch_compat.h"
#include "models/head_rotation.h"

namespace isogrid {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

HeadRotation rotation_of(const Attention& attention, const RmsNorm& norm, int64_t heads,
                         const TokenLayout& layout) {
  return {norm, attention.rotates ? layout.cosine : at::Tensor(),
          attention.rotates ? layout.sine : at::Tensor(), heads, attention.head_dim};
}

double scale_of(const Attention& attention) {
  return 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
}

/// A run of queries that one call of the fused kernel serves: rows [q_begin, q_end) of a document
/// against its keys [k_begin, k_end). `bias` undefined and not causal: every key is seen.
struct Stretch {
  int64_t q_begin, q_end, k_begin, k_end;
  bool causal;
  at::Tensor bias;
};

/// With a window or a cache the queries go in runs of this many, so that the bias stays small.
constexpr int64_t kQueriesPerStretch = 256;

/// 0 where query row i at `first_query` may see key j at `first_key`, minus infinity elsewhere.
at::Tensor visibility(const Attention& attention, int64_t queries, int64_t keys,
                      int64_t key_offset, at::TensorOptions options) {
  const at::Tensor behind = at::arange(queries, options.dtype(at::kLong)).unsqueeze(1) +
                            key_offset - at::arange(keys, options.dtype(at::kLong)).unsqueeze(0);
  at::Tensor hidden = behind.lt(0);
  if (attention.window > 0) hidden = hidden.logical_or(behind.ge(attention.window));
  return at::zeros({queries, keys}, options)
      .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
}

/// The stretches of a document of `count` new tokens after `past` cached ones.
std::vector<Stretch> stretches_of(const Attention& attention, int64_t past, int64_t count,
                                  at::TensorOptions options) {
  const bool windowed = attention.window > 0 && past + count > attention.window;
  if (past == 0 && !windowed) return {{0, count, 0, count, /*causal=*/true, {}}};
  std::vector<Stretch> stretches;
  for (int64_t begin = 0; begin < count; begin += kQueriesPerStretch) {
    const int64_t end = std::min(count, begin + kQueriesPerStretch);
    const int64_t first_key =
        windowed ? std::max<int64_t>(0, past + begin - attention.window + 1) : 0;
    Stretch stretch{begin, end, first_key, past + end, /*causal=*/false, {}};
    if (end - begin > 1) {
      const int64_t keys = stretch.k_end - first_key, offset = past + begin - first_key;
      const bool like_last = !stretches.empty() && stretches.back().bias.defined() &&
                             stretches.back().bias.size(0) == end - begin &&
                             stretches.back().bias.size(1) == keys;
      stretch.bias = like_last ? stretches.back().bias
                               : visibility(attention, end - begin, keys, offset, options);
    }
    stretches.push_back(std::move(stretch));
  }
  return stretches;
}

/// [n, heads, d] -> the [1, heads, n, d] view the kernels want.
at::Tensor as_batch(const at::Tensor& x, int64_t begin, int64_t end) {
  return x.slice(0, begin, end).unsqueeze(0).transpose(1, 2);
}
at::Tensor from_batch(const at::Tensor& x) { return x.transpose(1, 2).squeeze(0); }

std::optional<at::Tensor> optional_of(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

at::TensorOptions bias_options(const at::Tensor& q) {
  return q.options().dtype(q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

struct Attended {
  at::Tensor out;  // [tokens, heads, head_dim]
  variable_list log_sum_exps;
};

Attended attend_on_cpu(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const TokenLayout& layout) {
  Attended result;
  variable_list pieces;
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t begin = layout.begin(document);
    for (const Stretch& s :
         stretches_of(attention, 0, layout.length(document), bias_options(q))) {
      auto [out, log_sum_exp] = torch_compat::cpu_attention(
          as_batch(q, begin + s.q_begin, begin + s.q_end),
          as_batch(k, begin + s.k_begin, begin + s.k_end),
          as_batch(v, begin + s.k_begin, begin + s.k_end), s.causal, optional_of(s.bias),
          scale_of(attention));
      pieces.push_back(from_batch(out));
      result.log_sum_exps.push_back(log_sum_exp);
    }
  }
  result.out = pieces.size() == 1 ? pieces[0].contiguous() : at::cat(pieces, 0);
  return result;
}

struct QkvGradients {
  at::Tensor q, k, v;
};

QkvGradients backward_on_cpu(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const at::Tensor& out, const at::Tensor& d_out,
                             const variable_list& log_sum_exps, size_t first_log_sum_exp,
                             const TokenLayout& layout) {
  variable_list d_queries;
  const bool split = attention.window > 0;
  QkvGradients gradients{{}, split ? at::zeros_like(k) : at::empty_like(k),
                         split ? at::zeros_like(v) : at::empty_like(v)};
  size_t piece = first_log_sum_exp;
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t begin = layout.begin(document);
    for (const Stretch& s :
         stretches_of(attention, 0, layout.length(document), bias_options(q))) {
      auto [dq, dk, dv] = torch_compat::cpu_attention_backward(
          as_batch(d_out, begin + s.q_begin, begin + s.q_end),
          as_batch(q, begin + s.q_begin, begin + s.q_end),
          as_batch(k, begin + s.k_begin, begin + s.k_end),
          as_batch(v, begin + s.k_begin, begin + s.k_end),
          as_batch(out, begin + s.q_begin, begin + s.q_end), log_sum_exps[piece++], s.causal,
          optional_of(s.bias), scale_of(attention));
      d_queries.push_back(from_batch(dq));
      const at::Tensor into_k = gradients.k.slice(0, begin + s.k_begin, begin + s.k_end);
      const at::Tensor into_v = gradients.v.slice(0, begin + s.k_begin, begin + s.k_end);
      if (split) {  // stretches of a windowed document share keys
        into_k.add_(from_batch(dk));
        into_v.add_(from_batch(dv));
      } else {
        into_k.copy_(from_batch(dk));
        into_v.copy_(from_batch(dv));
      }
    }
  }
  gradients.q = d_queries.size() == 1 ? d_queries[0] : at::cat(d_queries, 0);
  return gradients;
}

torch_compat::VarlenAttention varlen_of(const Attention& attention, const TokenLayout& layout,
                                        at::Device device) {
  std::vector<int32_t> ends{0};
  torch_compat::VarlenAttention how;
  for (int64_t document = 0; document < layout.documents(); ++document) {
    ends.push_back(static_cast<int32_t>(layout.ends[document]));
    how.longest_q = std::max(how.longest_q, layout.length(document));
  }
  how.ends_q = at::empty({static_cast<int64_t>(ends.size())}, at::kInt);
  std::copy(ends.begin(), ends.end(), how.ends_q.mutable_data_ptr<int32_t>());
  how.ends_q = how.ends_k = how.ends_q.to(device);
  how.longest_k = how.longest_q;
  how.window_left = attention.window > 0 ? attention.window - 1 : -1;
  how.scale = scale_of(attention);
  return how;
}

bool is_half_type(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}

/// Does a fused kernel with a backward pass exist for this tensor?
bool has_fused_attention(const at::Tensor& q) {
  return q.is_cpu() ? q.scalar_type() != at::kDouble : is_half_type(q);
}

at::Tensor tokens_by_features(const at::Tensor& x) { return x.reshape({x.size(0), -1}); }

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, int64_t attention_address,
                            int64_t layout_address) {
    const auto& attention = *reinterpret_cast<const Attention*>(attention_address);
    const auto& layout = *reinterpret_cast<const TokenLayout*>(layout_address);
    const at::Tensor rotated_q =
        rotate_heads(q, rotation_of(attention, attention.q_norm, attention.heads, layout));
    const at::Tensor rotated_k =
        rotate_heads(k, rotation_of(attention, attention.k_norm, attention.kv_heads, layout));
    const at::Tensor values = v.view({-1, attention.kv_heads, attention.head_dim});
    variable_list saved{q, k, v};
    at::Tensor out;
    if (q.is_cpu()) {
      Attended attended = attend_on_cpu(attention, rotated_q, rotated_k, values, layout);
      out = tokens_by_features(attended.out);
      saved.push_back(out);
      saved.insert(saved.end(), attended.log_sum_exps.begin(), attended.log_sum_exps.end());
    } else {
      const torch_compat::VarlenResult result = torch_compat::cuda_varlen_attention(
          rotated_q, rotated_k, values, varlen_of(attention, layout, q.device()));
      out = tokens_by_features(result.out);
      saved.insert(saved.end(), {out, result.log_sum_exp, result.rng_state, result.unused});
    }
    context->save_for_backward(saved);
    context->saved_data["attention"] = attention_address;
    context->saved_data["layout"] = layout_address;
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& d_outputs) {
    const auto& attention =
        *reinterpret_cast<const Attention*>(context->saved_data["attention"].toInt());
    const auto& layout =
        *reinterpret_cast<const TokenLayout*>(context->saved_data["layout"].toInt());
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const HeadRotation q_how = rotation_of(attention, attention.q_norm, attention.heads, layout);
    const HeadRotation k_how =
        rotation_of(attention, attention.k_norm, attention.kv_heads, layout);
    const at::Tensor rotated_q = rotate_heads(q, q_how), rotated_k = rotate_heads(k, k_how);
    const at::Tensor values = v.view({-1, attention.kv_heads, attention.head_dim});
    const std::vector<int64_t> by_heads{-1, attention.heads, attention.head_dim};
    const at::Tensor out = saved[3].view(by_heads);
    const at::Tensor d_out = d_outputs[0].contiguous().view(by_heads);
    QkvGradients gradients;
    if (q.is_cpu()) {
      gradients = backward_on_cpu(attention, rotated_q, rotated_k, values, out, d_out, saved,
                                  /*first_log_sum_exp=*/4, layout);
    } else {
      std::tie(gradients.q, gradients.k, gradients.v) =
          torch_compat::cuda_varlen_attention_backward(
              d_out, rotated_q, rotated_k, values, {out, saved[4], saved[5], saved[6]},
              varlen_of(attention, layout, q.device()));
    }
    return {rotate_heads_backward(q, q_how, gradients.q),
            rotate_heads_backward(k, k_how, gradients.k), tokens_by_features(gradients.v),
            at::Tensor(), at::Tensor()};
  }
};

/// One call of LibTorch's own attention, for what the fused kernels above do not serve.
at::Tensor attend_stretch(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const Stretch& s, double scale) {
  const at::Tensor queries = as_batch(q, s.q_begin, s.q_end);
  const at::Tensor keys = as_batch(k, s.k_begin, s.k_end);
  const at::Tensor values = as_batch(v, s.k_begin, s.k_end);
  if (q.is_cpu() && q.scalar_type() != at::kDouble)
    return from_batch(std::get<0>(
        torch_compat::cpu_attention(queries, keys, values, s.causal, optional_of(s.bias), scale)));
  const at::Tensor bias = s.bias.defined() ? s.bias.to(q.scalar_type()) : s.bias;
  return from_batch(at::scaled_dot_product_attention(queries, keys, values, optional_of(bias),
                                                     /*dropout_p=*/0.0, s.causal, scale,
                                                     /*enable_gqa=*/true));
}

at::Tensor attend_with_cache(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const TokenLayout& layout, int64_t layer,
                             const CacheSlots& slots) {
  variable_list pieces;
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t begin = layout.begin(document), end = layout.ends[document];
    const KvCache::Views all = slots.cache->append(layer, slots.sequences[document],
                                                   k.slice(0, begin, end), v.slice(0, begin, end));
    const at::Tensor queries = q.slice(0, begin, end);
    for (const Stretch& s :
         stretches_of(attention, layout.past[document], end - begin, bias_options(q)))
      pieces.push_back(attend_stretch(queries, all.keys, all.values, s, scale_of(attention)));
  }
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces, 0);
}

}  // namespace

at::Tensor attend(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v, const TokenLayout& layout, int64_t layer,
                  const CacheSlots& slots) {
  if (slots.cache != nullptr) {
    const at::Tensor rotated_q =
        rotate_heads(q, rotation_of(attention, attention.q_norm, attention.heads, layout));
    const at::Tensor rotated_k =
        rotate_heads(k, rotation_of(attention, attention.k_norm, attention.kv_heads, layout));
    const at::Tensor values = v.view({-1, attention.kv_heads, attention.head_dim});
    return tokens_by_features(
        attend_with_cache(attention, rotated_q, rotated_k, values, layout, layer, slots));
  }
  if (!has_fused_attention(q)) return attend_composition(attention, q, k, v, layout);
  return AttentionFunction::apply(q, k, v, reinterpret_cast<int64_t>(&attention),
                                  reinterpret_cast<int64_t>(&layout));
}

at::Tensor attend_composition(const Attention& attention, const at::Tensor& q,
                              const at::Tensor& k, const at::Tensor& v,
                              const TokenLayout& layout) {
  const at::Tensor rotated_q = rotate_heads_composition(
      q, rotation_of(attention, attention.q_norm, attention.heads, layout));
  const at::Tensor rotated_k = rotate_heads_composition(
      k, rotation_of(attention, attention.k_norm, attention.kv_heads, layout));
  const at::Tensor values = v.reshape({-1, attention.kv_heads, attention.head_dim});
  const int64_t group = attention.heads / attention.kv_heads;
  variable_list pieces;
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t begin = layout.begin(document), count = layout.length(document);
    const at::Tensor queries = rotated_q.slice(0, begin, begin + count).transpose(0, 1);
    const auto expand = [&](const at::Tensor& x) {
      return x.slice(0, begin, begin + count).transpose(0, 1).repeat_interleave(group, 0);
    };
    const at::Tensor scores =
        at::matmul(queries, expand(rotated_k).transpose(1, 2)) * scale_of(attention) +
        visibility(attention, count, count, 0, bias_options(q)).to(q.scalar_type());
    const auto wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor shares = at::softmax(scores, -1, wide).to(q.scalar_type());
    pieces.push_back(at::matmul(shares, expand(values)).transpose(0, 1));
  }
  return at::cat(pieces, 0).reshape({q.size(0), attention.heads * attention.head_dim});
}

}  // namespace isogrid
