#pragma once
#include <cstdint>

namespace isogrid::kernels {

/// The element types our CPU kernels read and write. Arithmetic is always float32.
enum class Element { f32, bf16 };

}  // namespace isogrid::kernels
