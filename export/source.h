#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/causal_lm.h"
#include "models/folder.h"
#include "models/peft.h"
#include "models/trained_codes.h"
#include "models/weight_index.h"
#include "quant/registry.h"

namespace isogrid {

/// What is exported: a folder's weights as they are stored, with adapters laid over them. Nothing
/// is computed until a tensor is written, so memory stays at one tensor.
struct ExportSource {
  ModelFolder folder;
  std::shared_ptr<const WeightIndex> weights;
  CausalLm model;  // tensors in their stored types
  std::vector<PeftFolder> adapters;
  std::vector<std::string> replaced;          // tensors an adapter folder holds in full
  std::shared_ptr<const TrainedCodes> codes;  // of a quantisation-aware training; null: none
};

/// `quantise`: the base is what these few bits decode to, as a QLoRA was trained on it; empty: the
/// weights as they are stored. A folder that is quantised itself stays so.
ExportSource open_export_source(const std::string& path, std::vector<PeftFolder> adapters,
                                const Quantiser& quantise = {});

/// The folder's config.json, true of what is exported.
Json published_config(const ExportSource& source);

/// One tensor as it will be published.
struct ExportTensor {
  std::string name;
  Role role = Role::weight;
  at::ScalarType stored = at::kFloat;
  std::vector<int64_t> shape = {};
  const TrainedWeight* trained = nullptr;  // its codes; then `value` is what they decode to
  /// The value; what an adapter changes is summed in float32 and comes as that.
  std::function<at::Tensor()> value = {};
  /// Where it lies as blocks of a GGUF file that nothing changes; null: it does not.
  const WeightLocation* blocks = nullptr;
};
std::vector<ExportTensor> export_tensors(ExportSource& source);

}  // namespace isogrid
