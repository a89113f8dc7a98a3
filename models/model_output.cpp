#include "models/model_output.h"

#include <map>
#include <set>
#include <string>

#include "core/tensor_file.h"
#include "models/folder_writer.h"
#include "models/stored_tensor.h"
#include "quant/lut_folder.h"

namespace isogrid {
namespace {

/// The tensors that look-up-table layers consist of: every digit of them counts.
std::set<std::string> parts_of_tables(CausalLm& model) {
  std::set<std::string> names;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (lut_parameters(*linear.weight).empty()) return;
    linear.weight->visit(name, Role::weight,
                         [&](const TensorSlot& slot) { names.insert(slot.name); });
  });
  return names;
}

void append_tensor(OutputFile& file, const at::Tensor& tensor, at::ScalarType type) {
  const at::Tensor value = tensor.detach().to(at::kCPU, type).contiguous();
  file.append({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
}

}  // namespace

std::vector<FileToWrite> model_files(CausalLm& model, const ModelFolder& base,
                                     std::shared_ptr<const WeightIndex> stored,
                                     const NewValue& new_value, double shard_gigabytes) {
  const std::set<std::string> exact = parts_of_tables(model);
  std::map<std::string, at::Tensor> values;
  std::vector<TensorEntry> entries;
  model.visit([&](const TensorSlot& slot) {
    if (slot.of_run || is_adapter(slot.role)) return;
    const bool as_it_is = exact.count(slot.name) > 0;
    const WeightLocation* place = stored == nullptr ? nullptr : stored->find(slot.name);
    at::Tensor value = new_value ? new_value(slot) : at::Tensor();
    if (!value.defined() && (as_it_is || place == nullptr)) value = *slot.tensor;
    TensorEntry entry;
    entry.name = slot.name;
    entry.shape = slot.tensor->sizes().vec();
    entry.dtype = as_it_is           ? dtype_of(value.scalar_type())
                  : place != nullptr ? place->entry->dtype
                                     : dtype_of(model.compute);
    if (value.defined()) values[slot.name] = value;
    entries.push_back(std::move(entry));
  });
  const TensorProducer produce = [stored, values](const TensorEntry& entry, OutputFile& file) {
    const auto found = values.find(entry.name);
    if (found != values.end()) return append_tensor(file, found->second, scalar_type(entry.dtype));
    const WeightLocation* place = stored->find(entry.name);
    if (!place->gguf) return file.append(place->bytes());
    append_tensor(file, stored_tensor(*place), scalar_type(entry.dtype));
  };
  std::vector<FileToWrite> files = plan_weight_files(std::move(entries), produce, shard_gigabytes);
  for (FileToWrite& file : plan_model_folder_files(base, config_of_layers(model, base.config)))
    files.push_back(std::move(file));
  return files;
}

Json config_of_layers(CausalLm& model, const Json& base) {
  NamedWeights linears;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    linears.emplace_back(name, linear.weight.get());
  });
  auto settings = lut_folder_settings(linears);
  Json config = base;
  if (settings) config["quantization_config"] = std::move(*settings);
  return config;
}

}  // namespace isogrid
