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
  return config;
}

std::vector<ExportTensor> export_tensors(ExportSource& source) {
  std::map<std::string, Linear*> changed;
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    if (linear.adapter) changed[name + ".weight"] = &linear;
  });
  std::vector<ExportTensor> tensors;
  source.model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role)) return;
    ExportTensor tensor{.name = slot.name, .role = slot.role, .shape = slot.tensor->sizes().vec()};
    const WeightLocation* location = source.weights->find(slot.name);
    // A head that became its own matrix has the embedding's type.
    if (location == nullptr) location = source.weights->find("model.embed_tokens.weight");
    tensor.stored = scalar_type(location->entry->dtype);
    const auto found = changed.find(slot.name);
    if (found != changed.end())
      tensor.value = [linear = found->second] { return merged_weight(*linear, at::kFloat); };
    else
      tensor.value = [value = *slot.tensor] { return value; };
    tensors.push_back(std::move(tensor));
  });
  return tensors;
}

}  // namespace isogrid
