#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "models/causal_lm.h"
#include "models/sampling.h"

namespace isogrid {

struct GenerationRequest {
  std::vector<std::vector<int32_t>> prompts;
  int64_t max_new_tokens = 0;  // 0: bounded by max_length only
  int64_t max_length = 0;      // prompt and answer together; 0: bounded by max_new_tokens only
  SamplingSettings sampling;
  std::vector<int32_t> stop_ids;  // an answer ends with, and contains, the first of them
  uint64_t seed = 0;
  /// The stream of draws of each prompt below the seed; empty: its number among the prompts.
  std::vector<uint64_t> streams;
  /// Hears of every new token; returning false ends that prompt's answer.
  std::function<bool(int64_t prompt, int32_t id)> on_token;
};

struct GenerationResult {
  std::vector<std::vector<int32_t>> ids;  // the new tokens of each prompt
  double prefill_seconds = 0;
  double decode_seconds = 0;
  int64_t decoded_tokens = 0;  // by steps after the first token of each prompt
};

/// Continues each prompt. Prompts decoded together give the same tokens as one by one: each is
/// read alone, each draws from a stream of its own, and the products of a step are the same sums.
/// `cache`, when given, has one sequence per prompt and already holds a prefix of it; it is left
/// with everything but the last token.
GenerationResult generate(const CausalLm& model, const GenerationRequest& request,
                          KvCache* cache = nullptr);

}  // namespace isogrid
