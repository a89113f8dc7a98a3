#include "models/architectures.h"

namespace isogrid {

void read_qwen2(const JsonFields& config, DecoderConfig& model) {
  model.qkv_bias = true;
  read_qwen_windows(config, model);
}

void read_qwen_windows(const JsonFields& config, DecoderConfig& model) {
  const bool slides = config.boolean_or("use_sliding_window", false);
  const int64_t window = slides ? config.integer_or("sliding_window", 4096, 1) : 0;
  if (read_layer_types(config, window, model)) return;
  const int64_t first = config.integer_or("max_window_layers", 28, 0);
  for (int64_t layer = first; layer < model.layers; ++layer) model.layer_window[layer] = window;
}

}  // namespace isogrid
