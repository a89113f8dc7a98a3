#include "export/source.h"

#include <map>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor_file.h"
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
  source.codes = codes_of(source);
  return source;
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
    tensor.trained = source.codes ? source.codes->find(slot.name) : nullptr;
    if (tensor.trained != nullptr)
      tensor.value = [trained = tensor.trained] { return trained->decoded(); };
    else if (found != changed.end())
      tensor.value = [linear = found->second] { return merged_weight(*linear, at::kFloat); };
    else
      tensor.value = [value = *slot.tensor] { return value; };
    tensors.push_back(std::move(tensor));
  });
  return tensors;
}

}  // namespace isogrid
