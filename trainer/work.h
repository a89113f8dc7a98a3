#pragma once
#include <cstdint>

#include "data/batch.h"
#include "models/causal_lm.h"

namespace isogrid {

/// Floating-point operations of training on a batch, the useful ones: products of weights with
/// tokens, the gradients of what trains, attention with its backward pass. No recompute counted.
struct WorkPerToken {
  double blocks = 0;              // for every token
  double head = 0;                // for every labelled token
  double attention_per_pair = 0;  // for every pair of tokens of a document that see each other
};
WorkPerToken work_of(CausalLm& model);
double work_of_batch(const WorkPerToken& work, const Batch& batch);

/// Operations per second of one large matrix product in this type here and now.
double measured_roof(at::ScalarType type, at::Device device);

}  // namespace isogrid
