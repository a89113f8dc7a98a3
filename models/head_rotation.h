#pragma once
#include <ATen/core/Tensor.h>

#include "models/prologue.h"

namespace isogrid {

/// What q and k go through between projection and attention: an optional norm over each head, then
/// an optional rotation of its two halves by the token's angles.
struct HeadRotation {
  const RmsNorm& norm;      // weight undefined: none
  at::Tensor cosine, sine;  // float32 [tokens, head_dim / 2]; undefined: none
  int64_t heads = 0;
  int64_t head_dim = 0;
};

/// x [tokens, heads * head_dim] -> [tokens, heads, head_dim], contiguous.
at::Tensor rotate_heads(const at::Tensor& x, const HeadRotation& how);
at::Tensor rotate_heads_composition(const at::Tensor& x, const HeadRotation& how);
/// dy [tokens, heads, head_dim] -> dx [tokens, heads * head_dim]; the norm's gradient is added.
at::Tensor rotate_heads_backward(const at::Tensor& x, const HeadRotation& how,
                                 const at::Tensor& dy);

}  // namespace isogrid
