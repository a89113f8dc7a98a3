#pragma once
#include <ATen/core/Tensor.h>

#include "models/kv_cache.h"
#include "models/prologue.h"
#include "models/rope.h"

namespace isogrid {

/// What one layer's attention is, apart from its projections.
struct Attention {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t window = 0;  // keys a token sees, itself included; 0: all
  bool rotates = true;
  RmsNorm q_norm, k_norm;  // over head_dim, before the rotation; undefined weights: none
};

/// Causal attention within each document of `layout`. q [tokens, heads * head_dim] and k, v
/// [tokens, kv_heads * head_dim] as the projections gave them; returns [tokens, heads * head_dim].
///
/// One autograd node that keeps q, k, v and the output; backward norms and rotates again.
/// No key or value is repeated for its group of heads and no mask over a whole document exists.
/// `slots.cache` (inference only): the keys and values are appended to it at `layer` and earlier
/// ones are attended to.
at::Tensor attend(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                  const at::Tensor& v, const TokenLayout& layout, int64_t layer = 0,
                  const CacheSlots& slots = {});

/// The same without cache from plain differentiable operators, the specification of attend().
at::Tensor attend_composition(const Attention& attention, const at::Tensor& q, const at::Tensor& k,
                              const at::Tensor& v, const TokenLayout& layout);

}  // namespace isogrid
