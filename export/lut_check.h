#pragma once
#include <string>

#include "models/causal_lm.h"

namespace isogrid {

/// Inputs of every look-up-table layer and what it makes of them, in check/vectors.safetensors of a
/// bundle, for whoever brings the layers to a device: "<linear>.input" (float16 [4, in]),
/// ".output" (float32 [4, out], products and sums in float64, rounded once) and ".output_half"
/// (float16: rank after rank, every operand and result rounded, as a device without wider numbers
/// computes). Every layer of `model` that is of form v2.
void write_lut_check(CausalLm& model, const std::string& directory);

/// Is there such a file?
bool has_lut_check(const std::string& directory);

/// Makes the outputs again and compares: the number of layers. A missing or other value is refused
/// (65) by name.
int64_t check_lut_vectors(CausalLm& model, const std::string& directory);

}  // namespace isogrid
