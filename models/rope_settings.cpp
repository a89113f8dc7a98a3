#include "models/rope_settings.h"

#include <array>
#include <cmath>
#include <string_view>

namespace isogrid {
namespace {

constexpr std::array<std::string_view, 5> kRopeTypes = {"default", "linear", "dynamic", "yarn",
                                                        "llama3"};

double positive_number(const JsonFields& fields, const char* key, double fallback) {
  const double value = fields.number_or(key, fallback);
  if (!(value > 0) || !std::isfinite(value)) fields.refuse(key, "a positive number");
  return value;
}

void read_yarn(const JsonFields& fields, RopeSettings& rope) {
  rope.beta_fast = fields.number_or("beta_fast", 32.0);
  rope.beta_slow = fields.number_or("beta_slow", 1.0);
  if (rope.beta_fast == 0) rope.beta_fast = 32.0;  // zero stands for unset, as in the reference
  if (rope.beta_slow == 0) rope.beta_slow = 1.0;
  rope.attention_factor = fields.number_or("attention_factor", 0.0);
  rope.mscale = fields.number_or("mscale", 0.0);
  rope.mscale_all_dim = fields.number_or("mscale_all_dim", 0.0);
  rope.truncate = fields.boolean_or("truncate", true);
}

void read_scaling(const JsonFields& config, const JsonFields& fields, int64_t max_position,
                  RopeSettings& rope) {
  for (const char* layer_type : {"full_attention", "sliding_attention"})
    if (fields.has(layer_type))
      fields.refuse(layer_type,
                    "one rotation for all layers (per-layer rotations are not supported)");
  const char* type_key = fields.has("rope_type") ? "rope_type" : "type";
  rope.type = fields.string_or(type_key, "default");
  if (std::find(kRopeTypes.begin(), kRopeTypes.end(), rope.type) == kRopeTypes.end())
    fields.refuse(type_key, "default, linear, dynamic, yarn or llama3");
  rope.theta = positive_number(fields, "rope_theta", rope.theta);
  if (fields.number_or("partial_rotary_factor", 1.0) != 1.0)
    fields.refuse("partial_rotary_factor", "1.0 (a partial rotation is not supported)");
  if (rope.type == "default") return;

  const bool yarn_ratio = rope.type == "yarn" && !fields.has("factor");
  rope.original_max_position =
      config.has("original_max_position_embeddings")
          ? config.positive("original_max_position_embeddings")
          : fields.integer_or("original_max_position_embeddings", max_position, 1);
  if (!yarn_ratio && !fields.has("factor")) fields.refuse("factor", "a number, it is missing");
  rope.factor = yarn_ratio ? static_cast<double>(max_position) /
                                 static_cast<double>(rope.original_max_position)
                           : positive_number(fields, "factor", 1.0);
  if (rope.type == "yarn") read_yarn(fields, rope);
  if (rope.type == "llama3") {
    rope.low_freq_factor = positive_number(fields, "low_freq_factor", 1.0);
    rope.high_freq_factor = positive_number(fields, "high_freq_factor", 4.0);
    if (rope.high_freq_factor == rope.low_freq_factor)
      fields.refuse("high_freq_factor", "a number other than low_freq_factor");
  }
}

}  // namespace

RopeSettings read_rope_settings(const JsonFields& config, int64_t max_position,
                                double default_theta) {
  RopeSettings rope;
  rope.theta = positive_number(config, "rope_theta", default_theta);
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (config.has(key) && !config.value(key).empty()) {
      read_scaling(config, config.object(key), max_position, rope);
      break;
    }
  return rope;
}

}  // namespace isogrid
