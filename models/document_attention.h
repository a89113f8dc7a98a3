#pragma once
#include <ATen/core/Tensor.h>

#include "models/attention.h"

namespace isogrid {

// Attention of one document, after norm and rotation: q [n, heads, d], k and v [m, kv_heads, d],
// contiguous, the queries being the last n of the m tokens.

struct AttendedDocument {
  at::Tensor out;          // like q
  at::Tensor log_sum_exp;  // float32 [1, heads, n], for the backward pass
};

/// Our own kernel for float32 and bfloat16, LibTorch's for float16.
AttendedDocument attend_document_on_cpu(const Attention& attention, const at::Tensor& q,
                                        const at::Tensor& k, const at::Tensor& v);

struct QkvGradients {
  at::Tensor q, k, v;
};
QkvGradients attend_document_on_cpu_backward(const Attention& attention, const at::Tensor& q,
                                             const at::Tensor& k, const at::Tensor& v,
                                             const AttendedDocument& forward,
                                             const at::Tensor& d_out);

/// Any device and type, without a gradient.
at::Tensor attend_document(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v);

/// 0 where query row i, `key_offset` keys after the first, may see key j; minus infinity elsewhere.
at::Tensor visibility(const Attention& attention, int64_t queries, int64_t keys, int64_t key_offset,
                      at::TensorOptions options);

/// Options of a bias for scores of q: at least float32.
at::TensorOptions bias_options(const at::Tensor& q);

double attention_scale(const Attention& attention);

}  // namespace isogrid
