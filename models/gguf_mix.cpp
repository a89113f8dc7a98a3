#include "models/gguf_mix.h"

#include "core/error.h"
#include "core/gguf_names.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

constexpr GgufMix kMixes[] = {
    {"f32", "F32", 0, "F32"},           {"f16", "F16", 1, "F16"},
    {"bf16", "BF16", 32, "BF16"},       {"q8_0", "Q8_0", 7, "Q8_0"},
    {"q4_0", "Q4_0", 2, "Q4_0"},        {"q4_1", "Q4_1", 3, "Q4_1"},
    {"q5_0", "Q5_0", 8, "Q5_0"},        {"q5_1", "Q5_1", 9, "Q5_1"},
    {"q2_k", "Q2_K", 10, "Q2_K"},       {"q2_k_s", "Q2_K_S", 21, "Q2_K"},
    {"q3_k_s", "Q3_K_S", 11, "Q3_K"},   {"q3_k_m", "Q3_K_M", 12, "Q3_K"},
    {"q3_k_l", "Q3_K_L", 13, "Q3_K"},   {"q4_k_s", "Q4_K_S", 14, "Q4_K"},
    {"q4_k_m", "Q4_K_M", 15, "Q4_K"},   {"q5_k_s", "Q5_K_S", 16, "Q5_K"},
    {"q5_k_m", "Q5_K_M", 17, "Q5_K"},   {"q6_k", "Q6_K", 18, "Q6_K"},
    {"iq4_nl", "IQ4_NL", 25, "IQ4_NL"}, {"iq4_xs", "IQ4_XS", 30, "IQ4_XS"},
    {"mxfp4", "MXFP4", 38, "MXFP4"},    {"nvfp4", "NVFP4", 39, "NVFP4"},
    {"tq1_0", "TQ1_0", 36, "TQ1_0"},    {"tq2_0", "TQ2_0", 37, "TQ2_0"},
    {"q1_0", "Q1_0", 40, "Q1_0"},       {"q2_0", "Q2_0", 41, "Q2_0"},
};

struct Alias {
  std::string_view name, variant;
};
constexpr Alias kAliases[] = {{"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"}};

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return lower;
}

/// One tensor and what the rules look at.
struct Question {
  std::string_view mix;  // its label
  const MixModel& model;
  int64_t layer;

  int64_t group() const { return model.heads / model.kv_heads; }
  bool within(int64_t part) const { return layer < model.layers / part; }
  /// The layers at both ends and every third between them.
  bool deserves_more() const {
    const int64_t eighth = model.layers / 8;
    return layer < eighth || layer >= 7 * model.layers / 8 || (layer - eighth) % 3 == 2;
  }
  bool is(std::initializer_list<std::string_view> mixes) const {
    for (const std::string_view each : mixes)
      if (mix == each) return true;
    return false;
  }
};

/// 70B models share one v among eight heads: a few bits more cost next to nothing there.
bool is_seventy_billion(const MixModel& model) {
  return model.layers == 80 && (model.architecture == "llama" || model.architecture == "qwen2");
}

std::string_view v_type(const Question& q, std::string_view base) {
  std::string_view type = base;
  if (q.is({"Q2_K"})) type = q.group() >= 4 ? "Q4_K" : "Q3_K";
  if (q.is({"Q2_K_S"}) && q.group() >= 4) type = "Q4_K";
  if (q.is({"Q3_K_M"})) type = q.layer < 2 ? "Q5_K" : "Q4_K";
  if (q.is({"Q3_K_L"})) type = "Q5_K";
  if (q.is({"Q4_K_S"}) && q.layer < 4) type = "Q5_K";
  if (q.is({"Q4_K_M", "Q5_K_M"}) && q.deserves_more()) type = "Q6_K";
  if (q.is({"IQ4_NL", "IQ4_XS"}) && q.group() >= 4) type = "Q5_K";
  if (is_seventy_billion(q.model) && (type == "Q3_K" || type == "Q4_K")) type = "Q5_K";
  return type;
}

std::string_view down_type(const Question& q, std::string_view base) {
  if (q.is({"Q2_K"})) return "Q3_K";
  if (q.is({"Q2_K_S"}) && q.within(8)) return "Q4_K";
  if (q.is({"Q3_K_M"})) return q.within(16) ? "Q5_K" : "Q4_K";
  if (q.is({"Q3_K_L"})) return "Q5_K";
  if (q.is({"Q4_K_S"}) && q.within(8)) return "Q5_K";
  if (q.is({"Q4_K_M", "Q5_K_M"}) && q.deserves_more()) return "Q6_K";
  if (q.is({"IQ4_NL", "IQ4_XS"}) && q.within(8) && !q.model.has_importance) return "Q5_K";
  if (q.is({"Q4_0"}) && q.within(8) && q.model.has_importance) return "Q4_1";
  if (q.is({"Q5_0"}) && q.within(8) && q.model.has_importance) return "Q5_1";
  return base;
}

std::string_view output_type(const Question& q) {
  if (q.is({"Q2_K"})) return "Q3_K";
  if (q.is({"Q3_K_M"})) return "Q4_K";
  return q.is({"Q3_K_L"}) ? "Q5_K" : "";
}

/// The head, and the embedding that serves as one.
std::string_view head_type(std::string_view base, int64_t columns) {
  if (base == "Q8_0" || base == "MXFP4" || base == "NVFP4") return "Q8_0";
  return columns % gguf_type(base).block == 0 ? "Q6_K" : "Q8_0";
}

std::string_view embedding_type(std::string_view base) {
  if (base == "MXFP4" || base == "NVFP4") return "Q8_0";
  return base == "TQ1_0" || base == "TQ2_0" || base == "Q2_0" ? "Q4_K" : base;
}

std::string_view wanted_type(const GgufMix& mix, const MixModel& model, std::string_view name,
                             int64_t columns) {
  const Question question{mix.label, model, gguf_layer_of(name)};
  const std::string_view part = gguf_part_of(name);
  if (part == "output.weight" || (part == "token_embd.weight" && model.tied_head))
    return head_type(mix.base, columns);
  if (part == "token_embd.weight") return embedding_type(mix.base);
  if (part == "attn_v.weight") return v_type(question, mix.base);
  if (part == "ffn_down.weight") return down_type(question, mix.base);
  if (part == "attn_output.weight" && !output_type(question).empty()) return output_type(question);
  return mix.base;
}

/// What serves where rows are no whole blocks of 256.
std::string_view narrower_type(std::string_view type) {
  if (type == "Q4_K") return "Q5_0";
  if (type == "Q5_K") return "Q5_1";
  if (type == "Q6_K") return "Q8_0";
  if (type == "IQ4_XS") return "IQ4_NL";
  if (type == "Q2_K" || type == "Q3_K" || type == "TQ1_0" || type == "TQ2_0" || type == "Q2_0")
    return "Q4_0";
  return "F16";
}

bool ends_with_norm(std::string_view name) { return name.ends_with("_norm.weight"); }

/// Does `text` hold the pattern somewhere?
bool holds(std::string_view text, std::string_view pattern) {
  size_t at = 0;
  while (!pattern.empty()) {
    const size_t star = pattern.find('*');
    const std::string_view piece = pattern.substr(0, star);
    at = text.find(piece, at);
    if (at == std::string_view::npos) return false;
    at += piece.size();
    pattern.remove_prefix(star == std::string_view::npos ? pattern.size() : star + 1);
  }
  return true;
}

}  // namespace

std::span<const GgufMix> gguf_mixes() { return kMixes; }

const GgufMix* find_gguf_mix(std::string_view name) {
  std::string wanted = lower_case(name);
  for (const Alias& alias : kAliases)
    if (alias.name == wanted) wanted = alias.variant;
  for (const GgufMix& mix : kMixes)
    if (mix.variant == wanted) return &mix;
  return nullptr;
}

TypeOverride parse_type_override(const std::string& text, std::string_view setting) {
  const size_t equals = text.rfind('=');
  const GgufType* type =
      equals == std::string::npos ? nullptr : find_gguf_type(text.substr(equals + 1));
  if (type == nullptr || grids::find_codecs(*type) == nullptr || equals == 0)
    fail(ExitCode::configuration, setting, ": ", text,
         ": allowed is PATTERN=TYPE, for example attn_v=q8_0 or blk.0.*=f16");
  return {text.substr(0, equals), type};
}

const GgufType& mixed_type(const GgufMix& mix, const MixModel& model, const GgufMixOptions& options,
                           std::string_view name, int64_t rank, int64_t columns) {
  if (rank < 2 || ends_with_norm(name) || !name.ends_with(".weight")) return gguf_type("F32");
  if (!mix.is_quantised()) return gguf_type(mix.base);
  const GgufType* type = nullptr;
  for (const TypeOverride& override : options.overrides)
    if (type == nullptr && holds(name, override.pattern)) type = override.type;
  if (type == nullptr)
    type = &gguf_type(options.pure ? mix.base : wanted_type(mix, model, name, columns));
  while (columns % type->block != 0) type = &gguf_type(narrower_type(type->name));
  return *type;
}

}  // namespace isogrid
