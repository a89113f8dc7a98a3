#pragma once
#include "core/json.h"
#include "models/decoder_config.h"

namespace isogrid {

// One file per architecture: each fills what its config.json says apart from the common shape.
// Defaults are those of the architecture's published configuration class.

void read_qwen2(const JsonFields& config, DecoderConfig& model);
void read_qwen3(const JsonFields& config, DecoderConfig& model);
void read_llama(const JsonFields& config, DecoderConfig& model);
void read_mistral(const JsonFields& config, DecoderConfig& model);
void read_smollm3(const JsonFields& config, DecoderConfig& model);

/// Qwen's rule: layers from max_window_layers on slide when use_sliding_window is set, unless
/// layer_types lists the layers one by one.
void read_qwen_windows(const JsonFields& config, DecoderConfig& model);

/// layer_types: "full_attention" or "sliding_attention" for each layer; `window` is used for the
/// latter. Absent: nothing changes and false is returned.
bool read_layer_types(const JsonFields& config, int64_t window, DecoderConfig& model);

}  // namespace isogrid
