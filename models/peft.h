#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/input_directory.h"
#include "core/json.h"
#include "core/tensor_file.h"
#include "models/attach_adapters.h"

namespace isogrid {

/// A folder in PEFT's form: adapter_config.json and adapter_model.safetensors.
struct PeftFolder {
  std::string path;
  std::shared_ptr<const InputDirectory> files;
  std::string base_model;  // base_model_name_or_path as written; may be empty
  AdapterSpec spec;
};

/// Missing: exit code 66; malformed: 65; a kind of adapter there is no code for: 78, by name.
PeftFolder open_peft_folder(const std::string& path);

/// Puts the adapters on the linears they were made for, in `type`, and in place of the model's own
/// the tensors the folder holds in full; returns the names of the latter. Tensors that fit nothing,
/// are missing or of another shape are refused together (65). The base must be loaded.
std::vector<std::string> attach_peft_adapters(CausalLm& model, const PeftFolder& folder,
                                              at::ScalarType type);

/// The head becomes a matrix of its own, no longer the embedding.
void untie_head(CausalLm& model);

/// A table that a file holds in few bits becomes a matrix of numbers, so that it can train.
void expand_table(const CausalLm& model, std::shared_ptr<WeightSource>& table);

/// Where the values to be stored lie: of a working copy in fewer bits, the full-precision one.
using StoredValue = std::function<at::Tensor(const TensorSlot&)>;

/// The adapters and the tensors named in `in_full`, under PEFT's names.
std::vector<NamedTensor> peft_tensors(CausalLm& model, const std::vector<std::string>& in_full,
                                      const StoredValue& value);

/// adapter_config.json of the adapters on the model. `in_full`: tensor names as above.
Json peft_config(CausalLm& model, const AdapterSpec& spec, const std::string& base_model,
                 const std::vector<std::string>& in_full);

}  // namespace isogrid
