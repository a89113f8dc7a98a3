#include "export/source.h"

#include <map>

#include "core/tensor_file.h"
#include "models/registry.h"
#include "models/weights.h"

namespace isogrid {

ExportSource open_export_source(const std::string& path, std::vector<PeftFolder> adapters) {
  ExportSource source;
  source.folder = open_model_folder(path);
  source.adapters = std::move(adapters);
  source.weights = std::make_shared<const WeightIndex>(open_weights(*source.folder.files));
  source.model = build_model(read_decoder_config(source.folder.config, path + "/config.json"));
  LoadOptions as_stored;
  as_stored.take = [](const TensorSlot& slot, const at::Tensor& stored) {
    *slot.tensor = stored;
    return true;
  };
  as_stored.stored_as = quantised_folder(source.folder.config, path + "/config.json");
  load_weights(source.model, *source.weights, as_stored, path);
  for (size_t i = 0; i < source.adapters.size(); ++i) {
    if (i > 0) {
      source.model.compute = at::kFloat;  // sums of several adapters are rounded once, at the end
      merge_adapters(source.model);
    }
    for (std::string& name : attach_peft_adapters(source.model, source.adapters[i], at::kFloat))
      source.replaced.push_back(std::move(name));
  }
  return source;
}

Json published_config(const ExportSource& source) {
  Json config = source.folder.config;
  if (config.contains("tie_word_embeddings") || !source.model.config.tied_head)
    config["tie_word_embeddings"] = source.model.config.tied_head;
  config.erase("quantization_config");  // what is exported is told anew
  return config;
}

namespace {

/// The type a tensor has in the folder; a head that became its own matrix has the embedding's, and
/// one that lies in few bits that of the norms.
at::ScalarType type_in_folder(const ExportSource& source, const std::string& name, bool few_bits) {
  const WeightLocation* location = source.weights->find(name);
  if (few_bits && (location == nullptr || !location->gguf))
    location = source.weights->find("model.norm.weight");
  if (location == nullptr) location = source.weights->find("model.embed_tokens.weight");
  return scalar_type(location->entry->dtype);
}

/// The matrices that an adapter changes or that lie in few bits: their values must be made.
std::map<std::string, ExportTensor> made_matrices(ExportSource& source) {
  std::map<std::string, const Linear*> changed;
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    if (linear.adapter) changed[name] = &linear;
  });
  std::map<std::string, ExportTensor> tensors;
  visit_matrices(
      source.model, [&](const std::string& module, std::shared_ptr<WeightSource>& weight) {
        const auto found = changed.find(module);
        const bool few_bits = is_frozen_base(*weight);
        if (found == changed.end() && !few_bits) return;
        ExportTensor tensor;
        tensor.name = module + ".weight";
        tensor.role = module == "model.embed_tokens" ? Role::embedding : Role::weight;
        tensor.stored = type_in_folder(source, tensor.name, few_bits);
        tensor.shape = {weight->outputs(), weight->inputs()};
        if (found != changed.end()) {
          tensor.value = [linear = found->second] { return merged_weight(*linear, at::kFloat); };
        } else {
          tensor.value = [weight] { return whole_weight(*weight, at::kFloat, at::kCPU); };
          const WeightLocation* location = source.weights->find(tensor.name);
          if (location != nullptr && location->gguf) tensor.blocks = location;
        }
        tensors[tensor.name] = std::move(tensor);
      });
  return tensors;
}

}  // namespace

std::vector<ExportTensor> export_tensors(ExportSource& source) {
  std::map<std::string, ExportTensor> made = made_matrices(source);
  std::vector<ExportTensor> tensors;
  const auto take = [&](const std::string& name) {
    const auto found = made.find(name);
    if (found == made.end()) return false;
    tensors.push_back(std::move(found->second));
    made.erase(found);
    return true;
  };
  source.model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role) || take(slot.name) || is_quantised(slot.role)) return;
    ExportTensor tensor{.name = slot.name, .role = slot.role, .shape = slot.tensor->sizes().vec()};
    tensor.stored = type_in_folder(source, slot.name, /*few_bits=*/false);
    tensor.value = [value = *slot.tensor] { return value; };
    tensors.push_back(std::move(tensor));
  });
  // Those whose parts in few bits go by other names.
  while (!made.empty()) take(std::string(made.begin()->first));
  return tensors;
}

}  // namespace isogrid
