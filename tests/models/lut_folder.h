#pragma once
#include <ATen/ops/full.h>

#include <filesystem>
#include <memory>
#include <string>

#include "core/tensor_file.h"
#include "models/model_output.h"
#include "models/random_init.h"
#include "models/registry.h"
#include "models/weights.h"
#include "quant/lut_start.h"
#include "tests/core/temporary_directory.h"

namespace isogrid::test {

/// Rows of 37 and 20 numbers: no whole bytes of codes.
inline constexpr const char* kOddConfig = R"({
  "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 61,
  "hidden_size": 20, "intermediate_size": 37, "num_hidden_layers": 2,
  "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 10,
  "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
  "initializer_range": 0.1, "tie_word_embeddings": true, "torch_dtype": "float32"})";

/// A folder of random weights, dense.
inline std::string dense_folder(const TemporaryDirectory& directory,
                                at::ScalarType type = at::kFloat) {
  directory.write("dense/config.json", kOddConfig);
  const std::string path = directory / "dense";
  CausalLm model =
      build_model(read_decoder_config(open_model_folder(path).config, path + "/config.json"));
  initialise_randomly(model, 9, type);
  std::vector<NamedTensor> tensors;
  model.visit([&](const TensorSlot& slot) { tensors.push_back({slot.name, *slot.tensor}); });
  write_tensors(path + "/model.safetensors", tensors);
  return path;
}

inline std::shared_ptr<WeightSource> lut_weight(const std::string& parameters,
                                                const std::string& name, const at::Tensor& dense) {
  const bool mlp = name.find(".mlp.") != std::string::npos;
  LutStartOptions options;
  options.bits = mlp ? 2 : 4;
  options.rank = mlp ? 5 : 3;
  options.group = 7;
  options.start = LutStart::mse;
  if (parameters == "v2")
    return std::make_shared<LutV2Weight>(name, start_lut_v2(name, dense, options), LutV2Options{});
  if (parameters == "v1")
    return std::make_shared<LutV1Weight>(name, start_lut_v1(name, dense, options));
  const at::Tensor raw =
      at::full({1}, raw_of_clip(starting_clip(dense, options.bits, ClipStart::newton, 1)));
  return std::make_shared<BalancedWeight>(dense.to(at::kFloat), raw, options.bits);
}

/// Look-up-table layers for the dense linears of a folder, written as a folder of their own.
inline CausalLm lut_model(const std::string& dense, const std::string& parameters) {
  LoadOptions options;
  options.compute = at::kFloat;
  CausalLm model = load_model(open_model_folder(dense), options);
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (name == "model.layers.1.self_attn.k_proj") return;  // one stays dense
    linear.weight =
        lut_weight(parameters, name, whole_weight(*linear.weight, at::kFloat, at::kCPU));
  });
  return model;
}

inline void write_folder(const std::vector<FileToWrite>& files, const std::string& path) {
  std::filesystem::create_directories(path);
  for (const FileToWrite& file : files)
    write_file_durably((std::filesystem::path(path) / file.name).string(), file.size, file.produce);
}

inline std::string lut_folder_at(const TemporaryDirectory& directory,
                                 const std::string& parameters) {
  const std::string dense = dense_folder(directory), path = directory / "lut";
  CausalLm model = lut_model(dense, parameters);
  const ModelFolder folder = open_model_folder(dense);
  const auto stored = std::make_shared<const WeightIndex>(open_weights(*folder.files));
  write_folder(model_files(model, folder, stored, {}, 5), path);
  return path;
}

}  // namespace isogrid::test
