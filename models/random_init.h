#pragma once
#include <cstdint>
#include <string>

#include "models/causal_lm.h"

namespace isogrid {

/// A number for a tensor's name, stable for ever: it keys the stream its values are drawn from.
uint64_t name_hash(const std::string& name);

/// Fresh weights for an unloaded model: matrices normal(0, initializer_range), norms one, biases
/// zero. Each tensor draws from a stream of its own name, so the same seed gives the same model
/// whatever the order or the number of threads.
void initialise_randomly(CausalLm& model, uint64_t seed, at::ScalarType type);

}  // namespace isogrid
