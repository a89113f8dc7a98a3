#include "models/registry.h"

#include "core/error.h"
#include "models/architectures.h"
#include "models/rope_settings.h"

namespace isogrid {
namespace {

struct Architecture {
  const char* model_type;
  const char* class_name;  // what `architectures` lists
  void (*read)(const JsonFields&, DecoderConfig&);
  // What the file means when it says nothing.
  double rope_theta;
  int64_t kv_heads;  // 0: as many as heads
  int64_t max_position;
  bool tied_head;
};

/// Every architecture we have: its own file and one line here.
constexpr Architecture kArchitectures[] = {
    {"qwen2", "Qwen2ForCausalLM", read_qwen2, 10000.0, 32, 32768, false},
    {"qwen3", "Qwen3ForCausalLM", read_qwen3, 10000.0, 32, 32768, false},
    {"llama", "LlamaForCausalLM", read_llama, 10000.0, 0, 2048, false},
    {"mistral", "MistralForCausalLM", read_mistral, 10000.0, 8, 131072, false},
    {"smollm3", "SmolLM3ForCausalLM", read_smollm3, 2000000.0, 4, 32768, true},
};

std::string architecture_names() {
  std::string names;
  for (const Architecture& entry : kArchitectures)
    names += concat(names.empty() ? "" : ", ", entry.model_type);
  return names;
}

const Architecture& find_architecture(const JsonFields& config) {
  const std::string type = config.string("model_type");
  for (const Architecture& entry : kArchitectures)
    if (type == entry.model_type) return entry;
  config.refuse("model_type", architecture_names());
}

/// Fields of other decoders that would change the result. Ours is the neutral value; anything else
/// would be computed wrongly in silence.
struct NeutralField {
  const char* key;
  double neutral;
};
constexpr NeutralField kNeutralFields[] = {
    {"attention_multiplier", -1},
    {"embedding_multiplier", 1},
    {"residual_multiplier", 1},
    {"logits_scaling", 1},
    {"logit_scale", 1},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"partial_rotary_factor", 1},
    {"num_experts", 0},
    {"num_local_experts", 0},
    {"n_routed_experts", 0},
    {"query_pre_attn_scalar", -1},
    {"clip_qkv", 0},
    {"embed_scale", 1},
    {"scale_emb", 1},
    {"scale_depth", -1},
    {"dim_model_base", -1},
    {"attention_chunk_size", -1},
    {"temperature_tuning", 0},
    {"kv_lora_rank", -1},
    {"q_lora_rank", -1},
};

void refuse_foreign_maths(const JsonFields& config) {
  const std::string activation = config.string_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") config.refuse("hidden_act", "silu");
  for (const NeutralField& field : kNeutralFields)
    if (config.has(field.key) && config.value(field.key) != field.neutral &&
        !(config.value(field.key).is_boolean() && config.value(field.key) == false))
      config.refuse(field.key, "absent (a decoder with this field computes something else)");
  for (const char* key : {"is_encoder_decoder", "add_cross_attention", "use_qk_norm"})
    if (config.boolean_or(key, false)) config.refuse(key, "false");
}

void check_shape(const JsonFields& config, const DecoderConfig& model) {
  if (model.heads % model.kv_heads != 0)
    config.refuse("num_key_value_heads",
                  concat("a divisor of num_attention_heads, which is ", model.heads));
  if (model.head_dim % 2 != 0)
    config.refuse("head_dim", "an even number: the rotation pairs its two halves");
}

/// Sizes far beyond any decoder, so that no product of two of them overflows.
constexpr int64_t kMostLayers = 100'000, kMostWidth = 1 << 24, kMostVocabulary = 1 << 26;

void read_common_shape(const JsonFields& config, const Architecture& architecture,
                       DecoderConfig& model) {
  model.architecture = architecture.model_type;
  model.vocabulary = config.integer("vocab_size", 1, kMostVocabulary);
  model.hidden = config.integer("hidden_size", 1, kMostWidth);
  model.intermediate = config.integer("intermediate_size", 1, kMostWidth);
  model.layers = config.integer("num_hidden_layers", 1, kMostLayers);
  model.heads = config.integer("num_attention_heads", 1, 1 << 16);
  if (config.has("num_key_value_heads"))
    model.kv_heads = config.integer("num_key_value_heads", 1, 1 << 16);
  else if (config.is_null("num_key_value_heads") || architecture.kv_heads == 0)
    model.kv_heads = model.heads;
  else
    model.kv_heads = architecture.kv_heads;
  model.head_dim =
      config.has("head_dim") ? config.integer("head_dim", 2, 1 << 16) : model.hidden / model.heads;
  model.max_position = config.integer_or("max_position_embeddings", architecture.max_position, 1);
  model.rms_eps = config.number_or("rms_norm_eps", 1e-6);
  model.initializer_range = config.number_or("initializer_range", 0.02);
  model.tied_head = config.boolean_or("tie_word_embeddings", architecture.tied_head);
  model.rope = read_rope_settings(config, model.max_position, architecture.rope_theta);
  model.layer_rotates.assign(model.layers, true);
  model.layer_window.assign(model.layers, 0);
  model.stored_dtype = config.string_or(config.has("dtype") ? "dtype" : "torch_dtype", "float32");
}

}  // namespace

bool read_layer_types(const JsonFields& config, int64_t window, DecoderConfig& model) {
  if (!config.has("layer_types")) return false;
  const std::vector<std::string> types = config.strings("layer_types");
  if (static_cast<int64_t>(types.size()) != model.layers)
    config.refuse("layer_types", concat("one entry for each of the ", model.layers, " layers"));
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    if (types[layer] == "sliding_attention")
      model.layer_window[layer] = window;
    else if (types[layer] != "full_attention")
      config.refuse("layer_types", "full_attention or sliding_attention for each layer");
  }
  return true;
}

DecoderConfig read_decoder_config(const Json& json, const std::string& where) {
  const JsonFields config(json, where);
  const Architecture& architecture = find_architecture(config);
  refuse_foreign_maths(config);
  DecoderConfig model;
  read_common_shape(config, architecture, model);
  architecture.read(config, model);
  check_shape(config, model);
  return model;
}

}  // namespace isogrid
