#pragma once
#include <functional>
#include <string>
#include <vector>

#include "calibrate/input_moments.h"
#include "data/batch.h"
#include "models/causal_lm.h"

namespace isogrid {

/// The linears of a decoder block that share an input, in the order in which they are run.
enum class LinearGroup { qkv, output, gate_up, down };

/// One group of one block, its inputs seen. Weights, biases and norms of the block are float32 and
/// the walk's own: adapters are merged, and what is changed here changes no model.
struct SeenGroup {
  int64_t layer;
  LinearGroup group;
  Block& block;
  const InputMoments& inputs;
  /// LinearGroup::output only: set by who divided the rows of v, it brings the inputs already made
  /// into line. [in]
  at::Tensor input_factor = {};

  Projection& projection() const;
  std::vector<std::string> names() const;  // of its linears, as in the published checkpoint
  std::string prefix() const;              // "model.layers.7."
};

/// Runs `rows` through the model block by block and, within a block, group by group: the group is
/// shown what its inputs are, may replace its weights, and what follows it sees the consequences.
/// Memory: two hidden states of every row, one block in float32, one group's moments.
/// `progress`: groups done and to do.
void walk_blocks(const CausalLm& model, const std::vector<Batch>& rows,
                 const std::function<void(SeenGroup&)>& visit,
                 const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace isogrid
