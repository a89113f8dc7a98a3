#pragma once
#include <ATen/core/Tensor.h>

namespace isogrid {

/// Zeros whose pages the kernel hands over as they are first used, all zero already: large buffers
/// of a run are neither written twice nor written before the first step.
at::Tensor fresh_zeros(at::IntArrayRef shape, const at::TensorOptions& options);

}  // namespace isogrid
