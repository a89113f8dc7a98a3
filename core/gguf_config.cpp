#include "core/gguf_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <numbers>

#include "core/error.h"

namespace isogrid {
namespace {

/// The shortest number that is this float: 1e-06 and not 9.999999974752427e-07.
double shortest(double value) {
  char text[32] = {};
  std::to_chars(text, text + sizeof text - 1, static_cast<float>(value));
  return std::strtod(text, nullptr);
}

double finite(const GgufHeader& header, const std::string& key) {
  const double value = header.number(key);
  if (!std::isfinite(static_cast<float>(value))) header.refuse(key, "a finite number");
  return shortest(value);
}

/// The keys of one architecture.
class ArchitectureKeys {
 public:
  explicit ArchitectureKeys(const GgufHeader& header)
      : header_(header), prefix_(std::string(gguf_architecture(header).name) + ".") {}

  bool has(const char* key) const { return header_.has(prefix_ + key); }
  uint64_t natural(const char* key) const { return header_.natural(prefix_ + key); }
  uint64_t natural_or(const char* key, uint64_t fallback) const {
    return header_.natural_or(prefix_ + key, fallback);
  }
  double number(const char* key) const { return finite(header_, prefix_ + key); }
  double number_or(const char* key, double fallback) const {
    return has(key) ? number(key) : fallback;
  }
  std::string text_or(const char* key, const char* fallback) const {
    return header_.text_or(prefix_ + key, fallback);
  }
  [[noreturn]] void refuse(const char* key, const std::string& allowed) const {
    header_.refuse(prefix_ + key, allowed);
  }

 private:
  const GgufHeader& header_;
  std::string prefix_;
};

int64_t head_size(const ArchitectureKeys& keys) {
  const uint64_t heads = keys.natural("attention.head_count");
  if (heads == 0) keys.refuse("attention.head_count", "1 or more");
  return static_cast<int64_t>(
      keys.natural_or("attention.key_length", keys.natural("embedding_length") / heads));
}

bool near_equal(const std::vector<float>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, double y) {
           return std::abs(static_cast<double>(x) - y) <= 1e-4 * std::abs(y);
         });
}

/// Which setting makes these divisors? Known models keep to powers of two.
Json stretch_of_divisors(const GgufHeader& header, const std::vector<double>& divisors,
                         double theta, int64_t head_dim) {
  RopeStretch stretch{.theta = theta};
  stretch.factor = shortest(*std::max_element(divisors.begin(), divisors.end()));
  for (stretch.high = 2; stretch.high <= 16; stretch.high *= 2)
    for (stretch.original = 32; stretch.original <= 1 << 20; stretch.original *= 2)
      if (near_equal(rope_divisors(stretch, head_dim), divisors))
        return {{"rope_type", "llama3"},
                {"factor", stretch.factor},
                {"low_freq_factor", stretch.low},
                {"high_freq_factor", stretch.high},
                {"original_max_position_embeddings", static_cast<int64_t>(stretch.original)}};
  fail(ExitCode::refused_input, header.name(),
       ": tensor 'rope_freqs.weight': is no scaling of Llama 3, the only one this program has");
}

std::vector<double> stored_divisors(const GgufHeader& header, ByteSpan file) {
  const GgufTensor* tensor = header.find_tensor("rope_freqs.weight");
  if (tensor == nullptr || tensor->type->name != "F32") return {};
  const ByteSpan bytes = file.subspan(header.data_begin() + tensor->begin, tensor->bytes);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return {values.begin(), values.end()};
}

Json rope_scaling(const ArchitectureKeys& keys) {
  const std::string type = keys.text_or("rope.scaling.type", "none");
  if (type == "none" || !keys.has("rope.scaling.factor")) return nullptr;
  if (type != "linear" && type != "yarn") keys.refuse("rope.scaling.type", "none, linear or yarn");
  Json scaling = {{"rope_type", type}, {"factor", keys.number("rope.scaling.factor")}};
  if (type == "linear") return scaling;
  scaling["original_max_position_embeddings"] =
      keys.natural_or("rope.scaling.original_context_length", keys.natural("context_length"));
  const auto copy = [&](const char* from, const char* to) {
    if (keys.has(from)) scaling[to] = keys.number(from);
  };
  copy("rope.scaling.yarn_attn_factor", "attention_factor");
  copy("rope.scaling.yarn_beta_fast", "beta_fast");
  copy("rope.scaling.yarn_beta_slow", "beta_slow");
  return scaling;
}

const char* stored_dtype(const GgufHeader& header) {
  const GgufTensor* tensor = header.find_tensor("blk.0.attn_q.weight");
  if (tensor == nullptr) return "float32";
  if (tensor->type->name == "F16") return "float16";
  return tensor->type->name == "BF16" ? "bfloat16" : "float32";
}

void add_token_ids(const GgufHeader& header, Json& config) {
  for (const char* kind : {"bos", "eos"}) {
    const std::string key = concat("tokenizer.ggml.", kind, "_token_id");
    if (header.has(key)) config[concat(kind, "_token_id")] = header.natural(key);
  }
  if (header.has("tokenizer.ggml.padding_token_id"))
    config["pad_token_id"] = header.natural("tokenizer.ggml.padding_token_id");
}

void add_rotation(const GgufHeader& header, ByteSpan file, const ArchitectureKeys& keys,
                  Json& config) {
  const int64_t head_dim = head_size(keys);
  const double theta = keys.number_or("rope.freq_base", 10000.0);
  config["rope_theta"] = theta;
  config["rope_scaling"] = rope_scaling(keys);
  if (const std::vector<double> divisors = stored_divisors(header, file); !divisors.empty()) {
    if (static_cast<int64_t>(2 * divisors.size()) != head_dim)
      fail(ExitCode::refused_input, header.name(), ": tensor 'rope_freqs.weight' holds ",
           divisors.size(), " numbers, heads of ", head_dim, " need half as many as their size");
    config["rope_scaling"] = stretch_of_divisors(header, divisors, theta, head_dim);
  }
  if (keys.natural_or("rope.dimension_count", static_cast<uint64_t>(head_dim)) !=
      static_cast<uint64_t>(head_dim))
    keys.refuse("rope.dimension_count", "the size of a head: every part of it rotates");
}

uint64_t vocabulary_size(const GgufHeader& header) {
  const GgufTensor* embedding = header.find_tensor("token_embd.weight");
  if (embedding == nullptr)
    fail(ExitCode::refused_input, header.name(), ": tensor 'token_embd.weight' is missing");
  return static_cast<uint64_t>(embedding->rows());
}

}  // namespace

const GgufArchitecture& gguf_architecture(const GgufHeader& header) {
  if (const std::string type = header.text_or("general.type", "model"); type != "model")
    header.refuse("general.type", "model: this file holds something else");
  const GgufArchitecture* found = architecture_of_gguf(header.text("general.architecture"));
  if (found == nullptr) header.refuse("general.architecture", gguf_architecture_names());
  return *found;
}

std::vector<float> rope_divisors(const RopeStretch& stretch, int64_t head_dim) {
  std::vector<float> divisors;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const auto exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    const float frequency = 1.0f / std::pow(static_cast<float>(stretch.theta), exponent);
    const double wavelength = 2 * std::numbers::pi / static_cast<double>(frequency);
    double divisor = 1.0;
    if (wavelength > stretch.original / stretch.low) {
      divisor = stretch.factor;
    } else if (wavelength >= stretch.original / stretch.high) {
      const double smooth =
          (stretch.original / wavelength - stretch.low) / (stretch.high - stretch.low);
      divisor = 1 / ((1 - smooth) / stretch.factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

Json gguf_model_config(const GgufHeader& header, ByteSpan file) {
  const GgufArchitecture& architecture = gguf_architecture(header);
  const ArchitectureKeys keys(header);
  Json config = {{"architectures", Json::array({architecture.class_name})},
                 {"model_type", architecture.model_type},
                 {"hidden_size", keys.natural("embedding_length")},
                 {"intermediate_size", keys.natural("feed_forward_length")},
                 {"num_hidden_layers", keys.natural("block_count")},
                 {"num_attention_heads", keys.natural("attention.head_count")}};
  config["num_key_value_heads"] =
      keys.natural_or("attention.head_count_kv", keys.natural("attention.head_count"));
  config["head_dim"] = head_size(keys);
  if (keys.natural_or("attention.value_length", config["head_dim"].get<uint64_t>()) !=
      config["head_dim"].get<uint64_t>())
    keys.refuse("attention.value_length", "the same as attention.key_length");
  if (keys.natural_or("expert_count", 0) != 0) keys.refuse("expert_count", "0: dense models only");
  config["hidden_act"] = "silu";
  config["max_position_embeddings"] = keys.natural("context_length");
  config["rms_norm_eps"] = keys.number("attention.layer_norm_rms_epsilon");
  add_rotation(header, file, keys, config);
  config["attention_bias"] = header.find_tensor("blk.0.attn_q.bias") != nullptr;
  config["mlp_bias"] = header.find_tensor("blk.0.ffn_up.bias") != nullptr;
  config["tie_word_embeddings"] = header.find_tensor("output.weight") == nullptr;
  config["vocab_size"] = vocabulary_size(header);
  if (architecture.name == "smollm3") config["no_rope_layer_interval"] = 4;
  add_token_ids(header, config);
  config["torch_dtype"] = stored_dtype(header);
  return config;
}

Json gguf_generation_config(const GgufHeader& header) {
  Json config = Json::object();
  add_token_ids(header, config);
  const auto copy = [&](const char* from, const char* to) {
    const std::string key = concat("general.sampling.", from);
    if (!header.has(key)) return;
    const GgufValue& value = *header.find(key);
    if (value.is_integer())
      config[to] = static_cast<int64_t>(header.number(key));
    else
      config[to] = finite(header, key);
    config["do_sample"] = true;
  };
  copy("temp", "temperature");
  copy("top_k", "top_k");
  copy("top_p", "top_p");
  copy("min_p", "min_p");
  return config;
}

}  // namespace isogrid
