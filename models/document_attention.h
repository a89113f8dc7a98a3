#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/attention.h"
#include "models/attention.h"

namespace isogrid {

// Attention after norm and rotation: q [tokens, heads, d], k and v [keys, kv_heads, d], contiguous.

/// Have our kernels this type on this device? float32, bfloat16 and float16 on the CPU.
bool has_cpu_attention(const at::Tensor& q);

struct AttendedDocuments {
  at::Tensor out;          // like q
  at::Tensor log_sum_exp;  // float32 [tokens, heads], for the backward pass
};

/// All documents at once: short ones are shared out to threads as well as long ones.
AttendedDocuments attend_documents_on_cpu(const Attention& attention, const at::Tensor& q,
                                          const at::Tensor& k, const at::Tensor& v,
                                          const std::vector<kernels::AttentionSpan>& documents);

struct QkvGradients {
  at::Tensor q, k, v;
};
/// For documents without a past.
QkvGradients attend_documents_on_cpu_backward(const Attention& attention, const at::Tensor& q,
                                              const at::Tensor& k, const at::Tensor& v,
                                              const AttendedDocuments& forward,
                                              const at::Tensor& d_out,
                                              const std::vector<kernels::AttentionSpan>& documents);

/// One document whose queries are the last of its keys' tokens. Any device and type, without a
/// gradient.
at::Tensor attend_document(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v);

/// 0 where query row i, `key_offset` keys after the first, may see key j; minus infinity elsewhere.
at::Tensor visibility(const Attention& attention, int64_t queries, int64_t keys, int64_t key_offset,
                      at::TensorOptions options);

/// Options of a bias for scores of q: at least float32.
at::TensorOptions bias_options(const at::Tensor& q);

double attention_scale(const Attention& attention);

}  // namespace isogrid
