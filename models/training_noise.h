#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace isogrid {

/// What is random in one training pass. Every draw is a pure function of (seed, epoch, sample,
/// position in the sample, feature), so neither the cut of a batch nor the number of processes
/// changes it, and nothing of it needs saving.
struct TrainingNoise {
  at::Tensor dropout_keys;    // int32 [tokens, 2]: a Philox key for each token
  at::Tensor embedding_keys;  // the same for the noise on embeddings
  at::Tensor amplitude;       // float32 [tokens]: of that noise; undefined: none
};

struct NoiseSettings {
  uint64_t seed = 42;
  double neftune_alpha = 0.0;  // amplitude alpha / sqrt(length * hidden) in a document
};

/// The noise of a batch: documents laid end to end, each with its example's number.
TrainingNoise training_noise(const NoiseSettings& settings, uint64_t epoch,
                             const std::vector<int64_t>& document_ends,
                             const std::vector<uint64_t>& sample_ids, int64_t hidden);

/// x [tokens, n], an element kept with probability 1 - p and divided by it, else zero. `stream`
/// tells one use from another. It is its own backward: the gradient goes through the same call.
at::Tensor dropout(const at::Tensor& x, const TrainingNoise& noise, double p, uint64_t stream);

/// x [tokens, hidden] plus uniform noise in [-amplitude, amplitude).
at::Tensor with_embedding_noise(const at::Tensor& x, const TrainingNoise& noise);

}  // namespace isogrid
