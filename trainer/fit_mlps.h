#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "configs/run_config.h"
#include "data/batch_stream.h"
#include "models/causal_lm.h"

namespace isogrid {

/// A block's dense matrices, before they became look-up-table layers: gate, up, down.
using DenseMlp = std::array<std::shared_ptr<WeightSource>, 3>;
std::vector<DenseMlp> dense_mlps(const CausalLm& model);

/// lut_layer_by_layer: block by block, what lut_train names of an MLP's layers learns to give what
/// the dense MLP gave on the same input, the blocks below being as they will be served. The input
/// are the first rows of the run. An MLP that would end worse than it began stays as it was.
/// `progress` is called with the blocks that are done. Nothing trains afterwards.
void fit_mlps(CausalLm& model, const std::vector<DenseMlp>& dense, const BatchStream& batches,
              const RunConfig& config, const std::function<void(int64_t done)>& progress);

/// How far `y` is from `wanted`, [tokens, hidden] each: four fifths of it the mean squared
/// difference once both are brought to unit mean square, one fifth that of the values themselves
/// over the mean square of `wanted`. Differentiable in `y`.
at::Tensor reconstruction_loss(const at::Tensor& y, const at::Tensor& wanted);

}  // namespace isogrid
