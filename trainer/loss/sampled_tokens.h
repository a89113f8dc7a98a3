#pragma once
#include <ATen/core/Tensor.h>

#include <span>

#include "core/rng.h"
#include "data/batch.h"
#include "trainer/loss/kd_loss.h"

namespace isogrid {

/// Fills `drawn` with tokens below `vocabulary`, all alike likely, without repeats and none of
/// `taken`: in a softmax over both none may count twice.
void draw_other_tokens(Rng& rng, int64_t vocabulary, std::span<const int64_t> taken,
                       std::span<int64_t> drawn);

/// Tokens to hold the teacher's guesses against, int64 [n, sampled_negatives] on the host: other
/// ones in every step, keyed by (seed, step, example, position), so that the cut into micro-batches
/// changes none of them.
at::Tensor sampled_tokens(const Batch& batch, const KdSettings& settings, int64_t vocabulary);

}  // namespace isogrid
