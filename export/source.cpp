#include "export/source.h"

#include <map>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "export/balanced_codes.h"
#include "models/registry.h"
#include "models/weights.h"

namespace isogrid {
namespace {

/// The codes of the adapter that is exported, else of the model; each is held against the weight
/// and the adapter it was trained with.
std::shared_ptr<const TrainedCodes> codes_of(ExportSource& source) {
  const bool adapted = !source.adapters.empty();
  const auto codes = read_trained_codes(adapted ? source.adapters.back().path : source.folder.path);
  if (codes == nullptr) {
    if (adapted && read_trained_codes(source.folder.path) != nullptr)
      log_warning(concat(source.folder.path, "/", kTrainedCodesFile,
                         ": the adapter changes these weights, so they are quantised anew"));
    return nullptr;
  }
  if (adapted && !codes->merged)
    fail(ExitCode::configuration, codes->path,
         ": the adapter was trained beside a rounded base (qat_lora: base), and merging it would "
         "leave the grid; export the base without it and the adapter as it is (export_formats: "
         "adapter), or delete this file to merge all the same");
  std::map<std::string, const Adapter*> adapter_of;
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    if (linear.adapter) adapter_of[name + ".weight"] = &*linear.adapter;
  });
  std::set<std::string> found;
  source.model.visit([&](const TensorSlot& slot) {
    if (codes->find(slot.name) == nullptr) return;
    check_trained_weight(*codes, slot.name, *slot.tensor, adapter_of[slot.name]);
    found.insert(slot.name);
  });
  for (const auto& [name, unused] : codes->weights)
    if (found.count(name) == 0)
      fail(ExitCode::refused_input, codes->path, ": ", name, " is no weight of this model");
  return codes;
}

}  // namespace

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
  source.codes = codes_of(source);
  if (source.codes == nullptr && source.adapters.empty())
    source.codes = balanced_codes(source.model);
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

bool is_plain_number(Dtype type) {
  return type == Dtype::f32 || type == Dtype::bf16 || type == Dtype::f16 || type == Dtype::f64;
}

/// The type a tensor has in the folder. A head that became its own matrix has the embedding's, and
/// so has one that somebody stored in few bits.
at::ScalarType type_in_folder(const ExportSource& source, const std::string& name, bool few_bits) {
  const WeightLocation* location = source.weights->find(name);
  if (few_bits && location != nullptr && !location->gguf &&
      !is_plain_number(location->entry->dtype))
    location = nullptr;
  if (location == nullptr) location = source.weights->find("model.embed_tokens.weight");
  return scalar_type(location->entry->dtype);
}

/// Where a training chose the codes, they and what they decode to are what is published.
void use_trained_codes(const ExportSource& source, ExportTensor& tensor) {
  tensor.trained = source.codes ? source.codes->find(tensor.name) : nullptr;
  if (tensor.trained != nullptr)
    tensor.value = [trained = tensor.trained] { return trained->decoded(); };
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
        use_trained_codes(source, tensor);
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
    if (is_adapter(slot.role) || take(slot.name) || is_ingredient(slot.role)) return;
    ExportTensor tensor{.name = slot.name, .role = slot.role, .shape = slot.tensor->sizes().vec()};
    tensor.stored = type_in_folder(source, slot.name, /*few_bits=*/false);
    tensor.value = [value = *slot.tensor] { return value; };
    use_trained_codes(source, tensor);
    tensors.push_back(std::move(tensor));
  });
  // Those whose parts in few bits go by other names.
  while (!made.empty()) take(std::string(made.begin()->first));
  return tensors;
}

}  // namespace isogrid
