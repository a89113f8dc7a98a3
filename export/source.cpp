#include "export/source.h"

#include <map>

#include "core/tensor_file.h"
#include "models/registry.h"
#include "models/weights.h"
#include "quant/frozen_weight.h"

namespace isogrid {

ExportSource open_export_source(const std::string& path, std::vector<PeftFolder> adapters,
                                const Quantiser& quantise) {
  ExportSource source;
  source.folder = open_model_folder(path);
  source.adapters = std::move(adapters);
  source.weights = std::make_shared<const WeightIndex>(open_weights(*source.folder.files));
  source.model = build_model(read_decoder_config(source.folder.config, path + "/config.json"));
  LoadOptions as_stored;
  as_stored.stored_as = quantised_folder(source.folder.config, path + "/config.json");
  if (!as_stored.stored_as) as_stored.quantise = quantise;
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
  config.erase("quantization_config");  // what is written is dense, or says itself how it is not
  if (config.contains("tie_word_embeddings") || !source.model.config.tied_head)
    config["tie_word_embeddings"] = source.model.config.tied_head;
  return config;
}

namespace {

/// The type a tensor has in the folder. A head that became its own matrix has the embedding's, a
/// linear in few bits that of what is not quantised.
at::ScalarType type_in_folder(const ExportSource& source, const std::string& name, bool few_bits) {
  const WeightLocation* location = few_bits ? nullptr : source.weights->find(name);
  if (location == nullptr) location = source.weights->find("model.embed_tokens.weight");
  return scalar_type(location->entry->dtype);
}

bool is_plain_number(Dtype type) {
  return type == Dtype::f32 || type == Dtype::bf16 || type == Dtype::f16 || type == Dtype::f64;
}

/// Linears whose value must be made: adapters change them, or they lie in few bits.
std::map<std::string, ExportTensor> made_linears(ExportSource& source) {
  std::map<std::string, ExportTensor> made;
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    const bool few_bits = dynamic_cast<const FrozenWeight*>(linear.weight.get()) != nullptr;
    if (!linear.adapter && !few_bits) return;
    ExportTensor tensor;
    tensor.name = name + ".weight";
    // Few bits made while loading were a dense tensor in the folder.
    const WeightLocation* stored = source.weights->find(tensor.name);
    const bool has_type = stored != nullptr && is_plain_number(stored->entry->dtype);
    tensor.stored = type_in_folder(source, tensor.name, few_bits && !has_type);
    tensor.shape = {linear.weight->outputs(), linear.weight->inputs()};
    tensor.value = [of = &linear] {
      return of->adapter ? merged_weight(*of, at::kFloat)
                         : whole_weight(*of->weight, at::kFloat, at::kCPU);
    };
    made[tensor.name] = std::move(tensor);
  });
  return made;
}

/// "model.layers.0.mlp.up_proj.weight_packed" -> "model.layers.0.mlp.up_proj.weight".
std::string weight_of_part(const std::string& part) {
  return part.substr(0, part.rfind(".weight")) + ".weight";
}

}  // namespace

std::vector<ExportTensor> export_tensors(ExportSource& source) {
  std::map<std::string, ExportTensor> made = made_linears(source);
  std::vector<ExportTensor> tensors;
  source.model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role)) return;
    const auto found = made.find(is_quantised(slot.role) ? weight_of_part(slot.name) : slot.name);
    if (found != made.end()) {
      tensors.push_back(std::move(found->second));
      made.erase(found);
      return;
    }
    if (is_quantised(slot.role)) return;  // another part of the same weight
    ExportTensor tensor{.name = slot.name, .role = slot.role, .shape = slot.tensor->sizes().vec()};
    tensor.stored = type_in_folder(source, slot.name, /*few_bits=*/false);
    tensor.value = [value = *slot.tensor] { return value; };
    tensors.push_back(std::move(tensor));
  });
  return tensors;
}

}  // namespace isogrid
