#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/rng.h"

namespace isogrid {

/// How the next token is chosen. The maths and its order are transformers': repetition penalty,
/// temperature, top_k, top_p, min_p.
struct SamplingSettings {
  bool do_sample = true;  // false: the most likely token, nothing below but the penalty applies
  double temperature = 1.0;
  int64_t top_k = 0;  // 0 = all
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;

  /// Each line names the key, what came and what is allowed.
  std::vector<std::string> problems() const;
};

struct TokenProbability {
  int32_t id;
  double probability;
};

/// Divides what speaks for a token by `penalty` for every id in `history`, once each, however
/// often it occurs. Ids outside the vocabulary are passed over.
void apply_repetition_penalty(std::span<float> logits, std::span<const int32_t> history,
                              double penalty);

/// The index of the largest value, the lowest one of equals. A NaN or no finite value is refused
/// with ExitCode::numeric.
int32_t most_likely(std::span<const float> logits);

/// What may be drawn; the probabilities sum to 1. In an order that depends on the input alone.
std::vector<TokenProbability> sampling_distribution(std::span<const float> logits,
                                                    const SamplingSettings& settings);

/// The next token. Changes `logits` where the penalty applies.
int32_t sample(std::span<float> logits, const SamplingSettings& settings,
               std::span<const int32_t> history, Rng& rng);

}  // namespace isogrid
