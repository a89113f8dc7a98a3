#pragma once
#include <functional>
#include <optional>
#include <string>

#include "models/causal_lm.h"
#include "models/folder.h"
#include "models/weight_index.h"
#include "quant/registry.h"

namespace isogrid {

/// How the weights of a folder become a model in memory.
struct LoadOptions {
  std::optional<at::ScalarType> compute;  // empty: the type the weights are stored in
  at::Device device = at::kCPU;
  /// Called with each tensor as it is stored; true: it has been put where it belongs.
  std::function<bool(const TensorSlot&, const at::Tensor& stored)> take = {};
  /// Makes the dense linears of the blocks few bits, each as soon as it is read.
  Quantiser quantise = {};
  /// How the folder itself keeps linears in few bits; null: it is dense.
  std::shared_ptr<const QuantisedFolder> stored_as = {};
  /// Matrices that a GGUF file holds as blocks stay blocks; false: they become numbers.
  bool keep_blocks = true;
};

/// Sets `stored_as` and `quantise` from a folder and the settings. A folder that is quantised
/// already is taken as it is, with a warning where quantization_bit is set too.
void set_quantisation(LoadOptions& options, const QuantisationConfig& config,
                      const ModelFolder& folder);

/// Config, structure and weights of a folder. Where a tensor is stored in the compute type it
/// stays in the file's own pages; otherwise it is converted, one tensor at a time. Missing, extra
/// and mis-shaped tensors are refused together, in one message (65). A folder that somebody
/// quantised stays quantised.
CausalLm load_model(const ModelFolder& folder, const LoadOptions& options);

/// Fills the structure from an index that is already open; `where` names it in messages.
void load_weights(CausalLm& model, const WeightIndex& weights, const LoadOptions& options,
                  const std::string& where);

/// What the matrices come to that are in few bits: all zero where they stay dense.
struct QuantisedSize {
  int64_t parameters = 0, bytes = 0;
  int64_t largest = 0;  // numbers of the largest one, which is expanded whole
};
QuantisedSize quantised_size(CausalLm& structure, const QuantisationConfig& config,
                             const ModelFolder& folder);

/// The floating type most of the weights are stored in.
at::ScalarType stored_type(const WeightIndex& weights);

}  // namespace isogrid
