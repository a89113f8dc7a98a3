#include "models/architectures.h"

namespace isogrid {

void read_qwen3(const JsonFields& config, DecoderConfig& model) {
  model.head_dim = config.integer_or("head_dim", 128, 1);
  model.qk_norm = true;
  model.qkv_bias = model.output_bias = config.boolean_or("attention_bias", false);
  read_qwen_windows(config, model);
}

}  // namespace isogrid
