#include "export/gguf_metadata.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/gguf_config.h"
#include "core/gguf_names.h"
#include "core/log.h"
#include "export/gguf_identity.h"

namespace isogrid {
namespace {

/// Of general.quantization_version: the layout of today's blocks.
constexpr uint32_t kQuantisationVersion = 2;
/// llama.cpp rotates all but every fourth layer of a smollm3, whatever the config says.
constexpr int64_t kUnrotatedEvery = 4;

uint32_t small(int64_t value) { return static_cast<uint32_t>(value); }

void check_expressible(const DecoderConfig& config) {
  const bool windows = std::any_of(config.layer_window.begin(), config.layer_window.end(),
                                   [](int64_t window) { return window > 0; });
  if (windows)
    log_warning(
        "gguf: the sliding window of config.json has no place in a GGUF file of this architecture: "
        "beyond its length llama.cpp attends to everything");
  if (config.rope.type == "dynamic")
    log_warning(
        concat("gguf: rope_scaling 'dynamic' has no place in a GGUF file: the two agree up "
               "to ",
               config.rope.original_max_position, " positions"));
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const bool wanted = config.architecture != "smollm3" || (layer + 1) % kUnrotatedEvery != 0;
    if (config.layer_rotates[static_cast<size_t>(layer)] != wanted)
      fail(ExitCode::configuration, "export_formats: gguf: layer ", layer, " of this model ",
           wanted ? "does not rotate" : "rotates",
           " its positions (no_rope_layers); llama.cpp leaves out every fourth layer of a smollm3, "
           "so the file would compute something else");
  }
}

void add_sampling(const ModelFolder& folder, GgufMetadata& metadata) {
  if (!folder.generation_config) return;
  const Json& generation = *folder.generation_config;
  const auto number = [&](const char* key, const char* name) {
    const auto found = generation.find(key);
    if (found != generation.end() && found->is_number())
      metadata.add(concat("general.sampling.", name), found->get<float>());
  };
  if (const auto found = generation.find("top_k");
      found != generation.end() && found->is_number_integer())
    metadata.add("general.sampling.top_k", found->get<int32_t>());
  number("top_p", "top_p");
  number("min_p", "min_p");
  number("temperature", "temp");
}

void add_rope(const ModelFolder& folder, const DecoderConfig& config, const std::string& prefix,
              GgufMetadata& metadata) {
  const RopeSettings& rope = config.rope;
  if (rope.type == "linear" || rope.type == "yarn") {
    metadata.add(prefix + "rope.scaling.type", rope.type);
    metadata.add(prefix + "rope.scaling.factor", static_cast<float>(rope.factor));
  }
  if (rope.type == "yarn") {
    metadata.add(prefix + "rope.scaling.original_context_length",
                 small(rope.original_max_position));
    const char* section =
        folder.config.contains("rope_parameters") ? "rope_parameters" : "rope_scaling";
    const Json fields = folder.config.value(section, Json::object());
    const auto number = [&](const char* key, const char* name) {
      const auto found = fields.find(key);
      if (found != fields.end() && found->is_number())
        metadata.add(concat(prefix, "rope.scaling.", name), found->get<float>());
    };
    number("attention_factor", "yarn_attn_factor");
    number("beta_fast", "yarn_beta_fast");
    number("beta_slow", "yarn_beta_slow");
  }
  metadata.add(prefix + "rope.freq_base", static_cast<float>(rope.theta));
}

void add_shape(const ModelFolder& folder, const DecoderConfig& config,
               const GgufArchitecture& architecture, GgufMetadata& metadata) {
  const std::string prefix = std::string(architecture.name) + ".";
  metadata.add(prefix + "block_count", small(config.layers));
  metadata.add(prefix + "context_length", small(config.max_position));
  metadata.add(prefix + "embedding_length", small(config.hidden));
  metadata.add(prefix + "feed_forward_length", small(config.intermediate));
  metadata.add(prefix + "attention.head_count", small(config.heads));
  metadata.add(prefix + "attention.head_count_kv", small(config.kv_heads));
  add_rope(folder, config, prefix, metadata);
  metadata.add(prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(config.rms_eps));
  // The configuration classes of these give every model a head_dim.
  const bool named = config.architecture == "llama" || config.architecture == "mistral" ||
                     config.architecture == "qwen3" || folder.config.contains("head_dim");
  if (named) {
    metadata.add(prefix + "attention.key_length", small(config.head_dim));
    metadata.add(prefix + "attention.value_length", small(config.head_dim));
  }
}

const GgufArchitecture& architecture_for(const DecoderConfig& config) {
  const GgufArchitecture* found = find_gguf_architecture(config.architecture);
  if (found == nullptr)
    fail(ExitCode::configuration, "export_formats: gguf: the architecture ", config.architecture,
         " has no GGUF form; allowed are ", gguf_architecture_names());
  return *found;
}

}  // namespace

std::string size_label(uint64_t parameters) {
  const auto count = static_cast<double>(parameters);
  const struct {
    double above, scale;
    char unit;
  } units[] = {{1e12, 1e-12, 'T'}, {1e9, 1e-9, 'B'}, {1e6, 1e-6, 'M'}, {0, 1e-3, 'K'}};
  for (const auto& unit : units) {
    if (count <= unit.above && unit.above > 0) continue;
    const double scaled = count * unit.scale;
    const double whole = std::nearbyint(scaled);
    const int digits = whole < 1 ? 0 : static_cast<int>(std::floor(std::log10(whole))) + 1;
    char text[64];
    std::snprintf(text, sizeof text, "%.*f%c", std::max(2 - digits, 0), scaled, unit.unit);
    return text;
  }
  return {};
}

std::vector<float> rope_divisors(const DecoderConfig& config) {
  const RopeSettings& rope = config.rope;
  if (rope.type != "llama3") return {};
  return rope_divisors({.theta = rope.theta,
                        .factor = rope.factor,
                        .low = rope.low_freq_factor,
                        .high = rope.high_freq_factor,
                        .original = static_cast<double>(rope.original_max_position)},
                       config.head_dim);
}

GgufMetadata adapter_metadata(const ModelFolder& base, const DecoderConfig& config) {
  GgufMetadata metadata;
  metadata.add("general.architecture", architecture_for(config).name);
  metadata.add("general.type", "adapter");
  metadata.add("adapter.type", "lora");
  add_identity(base, /*parameters=*/0, metadata);
  metadata.add("general.quantization_version", kQuantisationVersion);
  return metadata;
}

GgufMetadata model_metadata(const ModelFolder& folder, const DecoderConfig& config,
                            const GgufMix& mix, uint64_t parameters) {
  check_expressible(config);
  const GgufArchitecture* architecture = &architecture_for(config);
  GgufMetadata metadata;
  metadata.add("general.architecture", architecture->name);
  metadata.add("general.type", "model");
  add_sampling(folder, metadata);
  add_identity(folder, parameters, metadata);
  add_shape(folder, config, *architecture, metadata);
  metadata.add("general.file_type", mix.file_type);
  if (architecture->interleaved_heads) {
    const std::string prefix = std::string(architecture->name) + ".";
    metadata.add(prefix + "vocab_size", small(config.vocabulary));
    metadata.add(prefix + "rope.dimension_count", small(config.head_dim));
  }
  metadata.add("general.quantization_version", kQuantisationVersion);
  return metadata;
}

}  // namespace isogrid
