#pragma once
#include <functional>
#include <optional>
#include <string>

#include "models/causal_lm.h"
#include "models/folder.h"
#include "models/weight_index.h"

namespace isogrid {

/// How the weights of a folder become a model in memory.
struct LoadOptions {
  std::optional<at::ScalarType> compute;  // empty: the type the weights are stored in
  at::Device device = at::kCPU;
  /// Called with each tensor as it is stored; true: it has been put where it belongs.
  std::function<bool(const TensorSlot&, const at::Tensor& stored)> take = {};
};

/// Config, structure and weights of a folder. Where a tensor is stored in the compute type it
/// stays in the file's own pages; otherwise it is converted, one tensor at a time. Missing, extra
/// and mis-shaped tensors are refused together, in one message (65).
CausalLm load_model(const ModelFolder& folder, const LoadOptions& options);

/// Fills the structure from an index that is already open; `where` names it in messages.
void load_weights(CausalLm& model, const WeightIndex& weights, const LoadOptions& options,
                  const std::string& where);

/// The floating type most of the weights are stored in.
at::ScalarType stored_type(const WeightIndex& weights);

}  // namespace isogrid
