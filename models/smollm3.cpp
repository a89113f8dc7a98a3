#include "models/architectures.h"

namespace isogrid {
namespace {

/// no_rope_layers holds 1 for a layer that rotates; without it every interval-th layer does not.
void read_rotating_layers(const JsonFields& config, DecoderConfig& model) {
  if (!config.has("no_rope_layers")) {
    const int64_t interval = config.integer_or("no_rope_layer_interval", 4, 1);
    for (int64_t layer = 0; layer < model.layers; ++layer)
      model.layer_rotates[layer] = (layer + 1) % interval != 0;
    return;
  }
  const Json& list = config.value("no_rope_layers");
  if (!list.is_array() || static_cast<int64_t>(list.size()) < model.layers)
    config.refuse("no_rope_layers", "a list of 0 and 1 with at least num_hidden_layers entries");
  for (int64_t layer = 0; layer < model.layers; ++layer) {
    const Json& entry = list[static_cast<size_t>(layer)];
    if (!entry.is_number_integer() || (entry != 0 && entry != 1))
      config.refuse("no_rope_layers", "a list of 0 (no rotation) and 1");
    model.layer_rotates[layer] = entry == 1;
  }
}

}  // namespace

void read_smollm3(const JsonFields& config, DecoderConfig& model) {
  model.qkv_bias = model.output_bias = config.boolean_or("attention_bias", false);
  model.mlp_bias = config.boolean_or("mlp_bias", false);
  read_rotating_layers(config, model);
  const bool slides = config.boolean_or("use_sliding_window", false);
  const int64_t window = slides ? config.integer_or("sliding_window", 0, 1) : 0;
  if (read_layer_types(config, window, model)) return;
  for (int64_t layer = 0; layer < model.layers; ++layer)
    if (!model.layer_rotates[layer]) model.layer_window[layer] = window;
}

}  // namespace isogrid
