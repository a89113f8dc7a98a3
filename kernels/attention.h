#pragma once
#include <cstdint>

#include "kernels/cpu_features.h"
#include "kernels/element.h"

namespace isogrid::kernels {

/// One document's causal attention. Tokens are rows of `heads * head_dim` (queries) and
/// `kv_heads * head_dim` (keys, values), contiguous. The queries are the last of the keys' tokens:
/// query i sits at position keys - queries + i and sees the keys up to its own, the last `window`
/// of them (0: all).
struct AttentionShape {
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t window = 0;
  float scale = 1.0f;
};

/// Online softmax over blocks of keys, float32 inside. Blocks start at fixed keys, so a row's
/// result depends neither on the other rows nor on how a prompt was cut into pieces.
struct AttentionKernels {
  /// Independent pieces of work: share [0, units) out to threads.
  int64_t (*units)(const AttentionShape& shape);
  /// Floats of scratch a thread needs.
  int64_t (*scratch)(const AttentionShape& shape);
  /// out like q; log_sum_exp [heads, queries] may be null.
  void (*forward)(Element element, const AttentionShape& shape, const void* q, const void* k,
                  const void* v, void* out, float* log_sum_exp, float* scratch, int64_t first,
                  int64_t last);
};

const AttentionKernels& attention_kernels();
const AttentionKernels& attention_kernels(Isa isa);

}  // namespace isogrid::kernels
