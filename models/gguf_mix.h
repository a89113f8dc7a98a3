#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/gguf_types.h"

namespace isogrid {

/// A named choice of a type for every tensor of a model: "Q4_K_M".
struct GgufMix {
  std::string_view variant;  // "q4_k_m", as the user asks for it
  std::string_view label;    // "Q4_K_M", as file names have it
  uint32_t file_type;        // general.file_type
  std::string_view base;     // the type the mix is made about

  bool is_quantised() const { return base != "F32" && base != "F16" && base != "BF16"; }
};

std::span<const GgufMix> gguf_mixes();
/// By variant or label, aliases such as q4_k included; null: none.
const GgufMix* find_gguf_mix(std::string_view name);

/// What the rules ask about a model.
struct MixModel {
  std::string_view architecture;  // GGUF's name
  int64_t layers = 0;
  int64_t heads = 0, kv_heads = 0;
  bool tied_head = false;
  bool has_importance = false;
};

/// "attn_v=q8_0": tensors whose name holds the pattern, '*' standing for anything.
struct TypeOverride {
  std::string pattern;
  const GgufType* type = nullptr;
};
TypeOverride parse_type_override(const std::string& text, std::string_view setting);

struct GgufMixOptions {
  bool pure = false;  // the base everywhere
  std::vector<TypeOverride> overrides;
};

/// The type of the tensor `name` (GGUF's) of `rank` dimensions and `columns` values a row. Norms,
/// biases and vectors stay F32; where rows are no whole blocks the next wider type serves.
const GgufType& mixed_type(const GgufMix& mix, const MixModel& model, const GgufMixOptions& options,
                           std::string_view name, int64_t rank, int64_t columns);

}  // namespace isogrid
