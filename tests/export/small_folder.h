#pragma once
#include <memory>
#include <string>

#include "core/tensor_file.h"
#include "export/registry.h"
#include "models/folder_writer.h"
#include "models/random_init.h"
#include "models/registry.h"
#include "models/weights.h"
#include "tests/core/temporary_directory.h"

namespace isogrid::test {

inline constexpr const char* kSmallConfig = R"({
  "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 32,
  "hidden_size": 256, "intermediate_size": 128, "num_hidden_layers": 1,
  "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64,
  "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
  "tie_word_embeddings": true, "torch_dtype": "bfloat16"})";

/// The folder of a random model, in bfloat16.
inline ExportSource small_source(const TemporaryDirectory& directory) {
  const std::string path = directory / "model";
  directory.write("model/config.json", kSmallConfig);
  CausalLm model =
      build_model(read_decoder_config(open_model_folder(path).config, path + "/config.json"));
  initialise_randomly(model, 9, at::kBFloat16);
  std::vector<NamedTensor> tensors;
  model.visit([&](const TensorSlot& slot) { tensors.push_back({slot.name, *slot.tensor}); });
  write_tensors(path + "/model.safetensors", tensors);
  return open_export_source(path, {});
}

inline ExportRequest request_for(const TemporaryDirectory& directory, const ExportConfig& config) {
  ExportRequest request;
  request.directory = directory / "out";
  request.config = &config;
  return request;
}

/// The written tensor of this name.
inline at::Tensor written(const TemporaryDirectory& directory, const std::string& name) {
  for (const NamedTensor& each : read_tensors(directory / "out/model.safetensors"))
    if (each.name == name) return each.tensor;
  return {};
}

/// The linear of this name as our own loader reads it from what was written.
inline at::Tensor read_back(const TemporaryDirectory& directory, const std::string& name,
                            at::ScalarType type) {
  CausalLm model = load_model(open_model_folder(directory / "out"), {});
  at::Tensor weight;
  visit_linears(model, [&](const std::string& each, Linear& linear) {
    if (each == name) weight = whole_weight(*linear.weight, type, at::kCPU).clone();
  });
  return weight;
}

}  // namespace isogrid::test
