#include "trainer/publication.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/tensor_file.h"
#include "models/folder_writer.h"
#include "models/model_output.h"
#include "models/peft.h"
#include "models/trained_codes.h"
#include "models/weights.h"
#include "trainer/average.h"

namespace isogrid {
namespace {

/// The running average where the run keeps one, else the masters.
at::Tensor published_value(const Training& training, const TensorSlot& slot) {
  const TrainedSlice* slice = training.trainables.find(slot.name);
  if (slice == nullptr) return *slot.tensor;
  return training.trainables.view(
      training.average.defined() ? training.average : training.trainables.master, *slice);
}

FileToWrite safetensors_file(const std::string& name, const std::vector<NamedTensor>& tensors) {
  const SafetensorsLayout layout = plan_tensors(tensors);
  return {name, layout.file_size, [layout, tensors](OutputFile& file) {
            append_safetensors(file, layout, tensor_producer(tensors));
          }};
}

/// PiSSA took b0 a0 out of the weight, so against the weight as it was the change is b a - b0 a0:
/// an ordinary adapter of twice the rank.
std::vector<NamedTensor> as_ordinary(std::vector<NamedTensor> tensors,
                                     const std::vector<NamedTensor>& start) {
  std::map<std::string, at::Tensor> began;
  for (const auto& [name, tensor] : start) began[name] = tensor;
  for (auto& [name, tensor] : tensors) {
    const auto found = began.find(name);
    if (found == began.end()) continue;
    const bool is_a = name.ends_with(".lora_A.weight");
    tensor = is_a ? at::cat({tensor, found->second}, 0) : at::cat({tensor, -found->second}, 1);
  }
  return tensors;
}

std::vector<FileToWrite> adapter_files(Training& training, const Publication& publication) {
  const StoredValue value = [&](const TensorSlot& slot) { return published_value(training, slot); };
  std::vector<NamedTensor> tensors = peft_tensors(training.model, publication.in_full, value);
  AdapterSpec spec = publication.adapter;
  Json config = peft_config(training.model, spec, publication.base_name, publication.in_full);
  if (!publication.adapter_start.empty()) {
    tensors = as_ordinary(std::move(tensors), publication.adapter_start);
    // Twice the rank at the same scale.
    config["r"] = 2 * spec.rank;
    config["lora_alpha"] = spec.rank_stabilised ? spec.alpha * std::sqrt(2.0) : 2 * spec.alpha;
  }
  std::vector<FileToWrite> files = plan_tokenizer_files(publication.base);
  files.push_back(safetensors_file("adapter_model.safetensors", tensors));
  files.push_back(text_file("adapter_config.json", dump_json(config)));
  return files;
}

std::vector<FileToWrite> trained_model_files(Training& training, const Publication& publication) {
  const NewValue trained = [&](const TensorSlot& slot) {
    if (training.trainables.find(slot.name) != nullptr) return published_value(training, slot);
    // A table's values follow from what trains of it, here from the average where there is one.
    return slot.role == Role::table ? slot.tensor->detach().clone() : at::Tensor();
  };
  const AveragedWeights averaged(training);
  return model_files(training.model, publication.base, publication.base_weights, trained,
                     publication.shard_gigabytes);
}

/// The codes of the published weights, where training rounded them.
std::optional<FileToWrite> codes_file(Training& training, const Publication& publication) {
  const auto index = publication.base_weights;
  const PublishedValue published = [&](const TensorSlot& slot) {
    const at::Tensor value = published_value(training, slot);
    if (publication.is_adapter)
      return training.trainables.find(slot.name) != nullptr ? value.to(at::kFloat) : value;
    const WeightLocation* stored = index == nullptr ? nullptr : index->find(slot.name);
    return value.to(stored != nullptr ? scalar_type(stored->entry->dtype) : training.model.compute);
  };
  auto file = trained_codes_file(training.model, publication.qat, published);
  if (!file || !training.average.defined()) return file;
  file->produce = [&training, produce = file->produce](OutputFile& to) {
    const AveragedWeights averaged(training);
    produce(to);
  };
  return file;
}

}  // namespace

std::vector<FileToWrite> publication_files(Training& training, const Publication& publication) {
  std::vector<FileToWrite> files = publication.is_adapter
                                       ? adapter_files(training, publication)
                                       : trained_model_files(training, publication);
  if (auto codes = codes_file(training, publication)) files.push_back(std::move(*codes));
  return files;
}

std::string published_name(const Publication& publication, const TrainedSlice& slice) {
  return publication.is_adapter ? "base_model.model." + slice.name : slice.name;
}

bool publishes_masters(const Training& training, const Publication& publication) {
  if (training.average.defined() || !publication.adapter_start.empty()) return false;
  if (publication.is_adapter)
    return std::none_of(training.trainables.slices.begin(), training.trainables.slices.end(),
                        [](const TrainedSlice& slice) { return slice.role == Role::factor; });
  for (const TrainedSlice& slice : training.trainables.slices) {
    const WeightLocation* stored =
        publication.base_weights == nullptr ? nullptr : publication.base_weights->find(slice.name);
    if (stored == nullptr ||
        scalar_type(stored->entry->dtype) != training.trainables.master.scalar_type())
      return false;
  }
  return true;
}

}  // namespace isogrid
