#pragma once
#include "quant/lut_product.h"

namespace isogrid {

/// x [tokens, in] times a look-up-table weight without forming it, in x's type: what a device does
/// that never sees the product of the scales. With `half` every operand and result is rounded to
/// float16 as there. For verification and for the last steps of a training: it costs `rank` dense
/// products where the materialised weight costs one.

/// One rank after another; the sum is rounded at each.
at::Tensor factored_product(const LutFactors& factors, const at::Tensor& x, bool half);

/// All ranks at once, one rounding of their sum; holds [tokens, rank, in] and [tokens, rank, out].
at::Tensor batched_product(const LutFactors& factors, const at::Tensor& x, bool half);

}  // namespace isogrid
