#include "models/architectures.h"

namespace isogrid {

void read_llama(const JsonFields& config, DecoderConfig& model) {
  model.qkv_bias = model.output_bias = config.boolean_or("attention_bias", false);
  model.mlp_bias = config.boolean_or("mlp_bias", false);
}

/// Llama with a sliding window in every layer, where the config asks for one.
void read_mistral(const JsonFields& config, DecoderConfig& model) {
  const int64_t unsaid = config.is_null("sliding_window") ? 0 : 4096;  // null: no window
  model.layer_window.assign(model.layers, config.integer_or("sliding_window", unsaid, 1));
}

}  // namespace isogrid
