#include "core/gguf_names.h"

#include <charconv>
#include <span>

#include "core/error.h"

namespace isogrid {
namespace {

constexpr GgufArchitecture kArchitectures[] = {
    {"qwen2", "Qwen2ForCausalLM", "qwen2", false},
    {"qwen3", "Qwen3ForCausalLM", "qwen3", false},
    {"llama", "LlamaForCausalLM", "llama", true},
    {"mistral", "MistralForCausalLM", "llama", true},
    {"smollm3", "SmolLM3ForCausalLM", "smollm3", true},
};

struct NamePair {
  std::string_view checkpoint, gguf;
};
constexpr NamePair kOutside[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
};
constexpr NamePair kInLayer[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr std::string_view kLayers = "model.layers.", kBlocks = "blk.";

struct LayerName {
  int64_t layer;
  std::string_view rest;
};

/// "model.layers.3.x" with prefix "model.layers." -> 3 and "x".
std::optional<LayerName> split_layer(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  LayerName split{};
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), split.layer);
  const auto digits = static_cast<size_t>(end - name.data());
  // Names with signs or leading zeros would not come back the same.
  if (error != std::errc() || name[0] == '-' || (digits > 1 && name[0] == '0') ||
      digits + 1 >= name.size() || name[digits] != '.')
    return std::nullopt;
  split.rest = name.substr(digits + 1);
  return split;
}

std::optional<std::string> renamed(std::string_view name, bool to_gguf) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = name.substr(dot);
  if (suffix != ".weight" && suffix != ".bias") return std::nullopt;
  std::string_view stem = name.substr(0, dot);
  std::string prefix;
  std::span<const NamePair> pairs = kOutside;
  if (const auto split = split_layer(stem, to_gguf ? kLayers : kBlocks)) {
    stem = split->rest;
    prefix = concat(to_gguf ? kBlocks : kLayers, split->layer, ".");
    pairs = kInLayer;
  }
  for (const NamePair& pair : pairs)
    if ((to_gguf ? pair.checkpoint : pair.gguf) == stem)
      return concat(prefix, to_gguf ? pair.gguf : pair.checkpoint, suffix);
  return std::nullopt;
}

}  // namespace

const GgufArchitecture* find_gguf_architecture(std::string_view model_type) {
  for (const GgufArchitecture& row : kArchitectures)
    if (row.model_type == model_type) return &row;
  return nullptr;
}

const GgufArchitecture* architecture_of_gguf(std::string_view name) {
  for (const GgufArchitecture& row : kArchitectures)
    if (row.name == name) return &row;
  return nullptr;
}

std::string gguf_architecture_names() {
  std::string names;
  for (const GgufArchitecture& row : kArchitectures)
    if (row.model_type == row.name) names += concat(names.empty() ? "" : ", ", row.name);
  return names;
}

std::optional<std::string> gguf_tensor_name(std::string_view checkpoint_name) {
  return renamed(checkpoint_name, /*to_gguf=*/true);
}
std::optional<std::string> checkpoint_tensor_name(std::string_view gguf_name) {
  return renamed(gguf_name, /*to_gguf=*/false);
}

int64_t gguf_layer_of(std::string_view gguf_name) {
  const auto split = split_layer(gguf_name, kBlocks);
  return split ? split->layer : -1;
}
std::string_view gguf_part_of(std::string_view gguf_name) {
  const auto split = split_layer(gguf_name, kBlocks);
  return split ? split->rest : gguf_name;
}

bool is_rotated_part(std::string_view part) {
  return part == "attn_q.weight" || part == "attn_k.weight" || part == "attn_q.bias" ||
         part == "attn_k.bias";
}

}  // namespace isogrid
