#pragma once
#include <memory>

#include "models/causal_lm.h"
#include "models/gguf_mix.h"
#include "models/trained_codes.h"

namespace isogrid {

/// The target that codes of balanced levels are known by.
inline constexpr const char* kBalancedTarget = "lut:balanced";

/// The linears of a model that stand on balanced levels as blocks of GGUF's Q2_K and Q4_K, which
/// decode to the very weights that are served: a scale s and levels code - 1.5 are Q2_K's
/// d = dmin = s / 2 under relative scales of 2 and 3, and likewise Q4_K's under 2 and 15. Null: it
/// has none, or blocks cannot hold them exactly, which is said.
std::shared_ptr<const TrainedCodes> balanced_codes(CausalLm& model);

/// Is the mix made about the type that most of the codes are of?
bool holds_balanced_codes(const TrainedCodes& codes, const GgufMix& mix);

}  // namespace isogrid
