#pragma once
#include <cstdint>
#include <vector>

#include "core/gguf.h"
#include "core/gguf_names.h"
#include "core/json.h"

namespace isogrid {

/// The architecture a file names; one we do not have, or no model at all, is refused (65).
const GgufArchitecture& gguf_architecture(const GgufHeader& header);

/// config.json and generation_config.json as the folder had them that the file was made from, as
/// far as the file tells. `file`: its bytes.
Json gguf_model_config(const GgufHeader& header, ByteSpan file);
Json gguf_generation_config(const GgufHeader& header);

/// Llama 3's scaling of rotation frequencies, which GGUF keeps as what each is divided by.
struct RopeStretch {
  double theta = 10000.0, factor = 8.0;
  double low = 1.0, high = 4.0;  // low_freq_factor, high_freq_factor
  double original = 8192.0;      // original_max_position_embeddings
};
std::vector<float> rope_divisors(const RopeStretch& stretch, int64_t head_dim);

}  // namespace isogrid
