#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace isogrid {

// A rotation pairs two halves of a head. Checkpoints keep the halves one after the other; GGUF
// files of some architectures keep each pair together.

/// Rows [heads * size, ...]: first of the first half, first of the second, ...
at::Tensor interleaved_heads(const at::Tensor& value, int64_t heads);
/// The other way.
at::Tensor halved_heads(const at::Tensor& value, int64_t heads);

}  // namespace isogrid
