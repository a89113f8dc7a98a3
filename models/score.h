#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/causal_lm.h"

namespace isogrid {

/// Rows of logits that exist at a time: enough for the product to run at full speed, few enough
/// that memory does not grow with vocabulary times tokens.
int64_t head_rows_per_chunk(int64_t vocabulary);

/// -log p(label) of each row, float32 [n]; hidden [n, hidden], labels int64 [n].
/// The logits are made and dropped in chunks.
at::Tensor label_losses(const CausalLm& model, const at::Tensor& hidden, const at::Tensor& labels);

/// How a long text is cut for perplexity: contexts of `window` tokens moved by `stride`, every
/// token scored once, with all the context its window has.
struct ScoringWindows {
  int64_t window = 1024;
  int64_t stride = 512;
};

/// One window: tokens [begin, end) are read, [first_scored, end) are scored.
struct ScoredSpan {
  int64_t begin, end, first_scored;
};
std::vector<ScoredSpan> scored_spans(int64_t tokens, const ScoringWindows& windows);

struct TextScore {
  double loss = 0;  // mean -log p over the scored tokens
  int64_t tokens = 0;
};

/// `progress` (may be empty) hears of scored and total tokens after each pass.
TextScore score_text(const CausalLm& model, const std::vector<int32_t>& ids,
                     const ScoringWindows& windows,
                     const std::function<void(int64_t, int64_t)>& progress);

}  // namespace isogrid
