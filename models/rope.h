#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "models/decoder_config.h"

namespace isogrid {

/// Angular frequencies and the factor on cosine and sine.
struct RopeFrequencies {
  at::Tensor inverse;  // float32 [head_dim / 2]
  double amplitude = 1.0;
};

/// `length`: tokens of the sequence, which only the dynamic type looks at.
RopeFrequencies rope_frequencies(const RopeSettings& rope, int64_t head_dim, int64_t max_position,
                                 int64_t length);

/// Documents laid end to end: where each ends, how much of it a cache already holds, and the
/// rotation of every token. Made once for a forward pass and shared by its layers; it must outlive
/// the graph of that pass.
struct TokenLayout {
  std::vector<int64_t> ends;  // cumulative token counts, one per document
  std::vector<int64_t> past;  // tokens of each document before these, in its cache
  at::Tensor cosine, sine;    // float32 [tokens, head_dim / 2]

  int64_t documents() const { return static_cast<int64_t>(ends.size()); }
  int64_t begin(int64_t document) const { return document == 0 ? 0 : ends[document - 1]; }
  int64_t length(int64_t document) const { return ends[document] - begin(document); }
};

/// `past` may be empty: no cache.
TokenLayout lay_out(const DecoderConfig& config, std::vector<int64_t> ends,
                    std::vector<int64_t> past, at::Device device);

}  // namespace isogrid
