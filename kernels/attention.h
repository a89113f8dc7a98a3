#pragma once
#include <cstdint>
#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// Causal attention. Tokens are rows of `heads * head_dim` (queries, output) and
/// `kv_heads * head_dim` (keys, values), contiguous.
struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t window = 0;  // keys a query sees, its own included; 0: all
  float scale = 1.0f;
};

/// One document in those rows. Its queries are the last of its keys' tokens: query i sits at
/// position keys - queries + i and sees the keys up to its own, the last `window` of them.
struct AttentionSpan {
  int64_t first_query = 0, queries = 0;
  int64_t first_key = 0, keys = 0;
};

/// What one call does: for the query heads that share a key head, queries [query_begin, query_end)
/// of a document against its keys [key_begin, key_end).
struct AttentionPiece {
  AttentionSpan span;
  int64_t kv_head = 0;
  int64_t query_begin = 0, query_end = 0;
  int64_t key_begin = 0, key_end = 0;
  bool adds = false;  // backward: onto what an earlier piece gave these rows
};

/// Independent pieces, the largest first. A row's result depends neither on the other rows nor on
/// how a prompt was cut into calls: blocks of keys start at fixed places.
std::vector<AttentionPiece> attention_pieces(const AttentionShape& shape,
                                             const std::vector<AttentionSpan>& spans);

/// For the backward pass of documents without a past (queries == keys). Pieces of one wave are
/// independent, the waves follow one another, so every sum has one order and needs no lock.
std::vector<std::vector<AttentionPiece>> attention_backward_waves(
    const AttentionShape& shape, const std::vector<AttentionSpan>& spans);

struct AttentionInputs {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  // for the backward pass
  const void *out = nullptr, *d_out = nullptr;
  const float* log_sum_exp = nullptr;
};

/// Of `element`, which is float32 wherever there is more than one wave: sums are not rounded.
struct AttentionGradients {
  Element element = Element::f32;
  void *q = nullptr, *k = nullptr, *v = nullptr;
};

/// f32, bf16 and f16. Sums are float32; products of bfloat16 numbers are made in pairs where the
/// processor can, from probabilities rounded to bfloat16.
struct AttentionKernels {
  /// Floats of scratch a call needs.
  int64_t (*scratch)(const AttentionShape& shape, const AttentionPiece& piece);
  /// out like q; log_sum_exp [tokens, heads] may be null.
  void (*forward)(Element element, const AttentionShape& shape, const AttentionPiece& piece,
                  const AttentionInputs& in, void* out, float* log_sum_exp, float* scratch);
};
struct AttentionBackwardKernels {
  int64_t (*scratch)(const AttentionShape& shape, const AttentionPiece& piece);
  void (*backward)(Element element, const AttentionShape& shape, const AttentionPiece& piece,
                   const AttentionInputs& in, const AttentionGradients& gradients, float* scratch);
};

const AttentionKernels& attention_kernels();
const AttentionKernels& attention_kernels(Isa isa);
const AttentionBackwardKernels& attention_backward_kernels();
const AttentionBackwardKernels& attention_backward_kernels(Isa isa);

}  // namespace isogrid::kernels
