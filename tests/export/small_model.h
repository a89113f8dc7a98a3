#pragma once
#include <string>

#include "core/json.h"
#include "core/tensor_file.h"
#include "export/registry.h"
#include "models/random_init.h"
#include "models/registry.h"
#include "models/weights.h"
#include "tests/core/temporary_directory.h"

namespace isogrid::test {

/// The shape of a small decoder with the tokenizer of data/tiny. Some rows are whole blocks of 256
/// and some are not.
inline Json small_config(const std::string& model_type) {
  Json config = {{"model_type", model_type},  {"vocab_size", 2048},
                 {"hidden_size", 64},         {"intermediate_size", 256},
                 {"num_hidden_layers", 5},    {"num_attention_heads", 6},
                 {"num_key_value_heads", 2},  {"head_dim", 16},
                 {"rms_norm_eps", 1e-5},      {"rope_theta", 50000.0},
                 {"initializer_range", 0.05}, {"max_position_embeddings", 512},
                 {"eos_token_id", 2},         {"tie_word_embeddings", true}};
  // These take the size of a head from the two others.
  if (model_type == "qwen2") config["num_attention_heads"] = 4;
  if (model_type == "smollm3") config["no_rope_layer_interval"] = 4;
  if (model_type == "qwen3") config["attention_bias"] = false;
  return config;
}

/// A folder of random weights of that shape, float32.
inline std::string write_small_model(const TemporaryDirectory& parent, const Json& config,
                                     const std::string& name = "base") {
  const std::string folder = parent / name;
  parent.write(name + "/config.json", dump_json(config));
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"})
    parent.write(name + "/" + file,
                 file_content(std::string(ISOGRID_SOURCE_DIR "/data/tiny/") + file));
  CausalLm model = build_model(read_decoder_config(config, "config.json"));
  initialise_randomly(model, /*seed=*/7, at::kFloat);
  std::vector<NamedTensor> tensors;
  model.visit([&](const TensorSlot& slot) { tensors.push_back({slot.name, *slot.tensor}); });
  write_tensors(folder + "/model.safetensors", tensors);
  return folder;
}

inline std::string write_gguf_of(const std::string& folder, const std::string& variant,
                                 const std::string& path) {
  ExportSource source = open_export_source(folder, {});
  write_gguf_file(source, variant, path);
  return path;
}

}  // namespace isogrid::test
