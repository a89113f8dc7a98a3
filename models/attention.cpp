#include "models/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/torch_compat.h"
#include "models/document_attention.h"
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

/// One piece as it is, several joined.
at::Tensor joined(const variable_list& pieces) {
  return pieces.size() == 1 ? pieces[0].contiguous() : at::cat(pieces, 0);
}

std::vector<kernels::AttentionSpan> documents_of(const TokenLayout& layout) {
  std::vector<kernels::AttentionSpan> documents;
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t begin = layout.begin(document), length = layout.length(document);
    documents.push_back({begin, length, begin, length});
  }
  return documents;
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
  how.scale = attention_scale(attention);
  return how;
}

bool is_half_type(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
}

/// Does a fused kernel with a backward pass exist for this tensor?
bool has_fused_attention(const at::Tensor& q) {
  return q.is_cpu() ? has_cpu_attention(q) : is_half_type(q);
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
      const AttendedDocuments attended =
          attend_documents_on_cpu(attention, rotated_q, rotated_k, values, documents_of(layout));
      out = tokens_by_features(attended.out);
      saved.insert(saved.end(), {out, attended.log_sum_exp});
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
    const HeadRotation k_how = rotation_of(attention, attention.k_norm, attention.kv_heads, layout);
    const at::Tensor rotated_q = rotate_heads(q, q_how), rotated_k = rotate_heads(k, k_how);
    const at::Tensor values = v.view({-1, attention.kv_heads, attention.head_dim});
    const std::vector<int64_t> by_heads{-1, attention.heads, attention.head_dim};
    const at::Tensor out = saved[3].view(by_heads);
    const at::Tensor d_out = d_outputs[0].contiguous().view(by_heads);
    QkvGradients gradients;
    if (q.is_cpu()) {
      gradients = attend_documents_on_cpu_backward(attention, rotated_q, rotated_k, values,
                                                   {out, saved[4]}, d_out, documents_of(layout));
    } else {
      std::tie(gradients.q, gradients.k, gradients.v) =
          torch_compat::cuda_varlen_attention_backward(d_out, rotated_q, rotated_k, values,
                                                       {out, saved[4], saved[5], saved[6]},
                                                       varlen_of(attention, layout, q.device()));
    }
    return {rotate_heads_backward(q, q_how, gradients.q),
            rotate_heads_backward(k, k_how, gradients.k), tokens_by_features(gradients.v),
            at::Tensor(), at::Tensor()};
  }
};

at::Tensor attend_with_cache(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const TokenLayout& layout, int64_t layer,
                             const CacheSlots& slots) {
  variable_list pieces;
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t begin = layout.begin(document), end = layout.ends[document];
    const KvCache::Views all = slots.cache->append(layer, slots.sequences[document],
                                                   k.slice(0, begin, end), v.slice(0, begin, end));
    pieces.push_back(attend_document(attention, q.slice(0, begin, end), all.keys, all.values));
  }
  return joined(pieces);
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

at::Tensor attend_composition(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const TokenLayout& layout) {
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
        at::matmul(queries, expand(rotated_k).transpose(1, 2)) * attention_scale(attention) +
        visibility(attention, count, count, 0, bias_options(q)).to(q.scalar_type());
    const auto wide = q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    const at::Tensor shares = at::softmax(scores, -1, wide).to(q.scalar_type());
    pieces.push_back(at::matmul(shares, expand(values)).transpose(0, 1));
  }
  return at::cat(pieces, 0).reshape({q.size(0), attention.heads * attention.head_dim});
}

}  // namespace isogrid
