#pragma once
#include <ATen/core/Tensor.h>

namespace isogrid {

/// What an engine makes of the input of a product with quantised weights, token by token.
enum class ActivationRounding {
  none,
  int8_token,  // one scale and zero for a token, codes -128 ... 127
  q8_0,        // llama.cpp beside blocks of 32: one float16 scale for 32 values
  q8_k,        // llama.cpp beside blocks of 256: one float32 scale for 256 values
};

/// x [tokens, in] as the engine sees it, in x's type. Its gradient is straight through, so there is
/// none to compute. `in` is whole blocks.
at::Tensor rounded_activations(const at::Tensor& x, ActivationRounding rounding);

}  // namespace isogrid
