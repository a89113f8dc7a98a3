#pragma once
#include <ATen/core/Tensor.h>

namespace isogrid {

/// Zeros whose pages the kernel hands over as they are first used, all zero already: large buffers
/// of a run are neither written twice nor written before the first step. Ordinary pages: whole huge
/// ones are read and written in order anyway, and take four times as long to come by.
at::Tensor fresh_zeros(at::IntArrayRef shape, const at::TensorOptions& options);

}  // namespace isogrid
