#pragma once
#include <cstdint>

namespace isogrid::kernels {

/// The element types our CPU kernels read and write. Arithmetic is always float32. Kernels take
/// f32 and bf16; those whose header says so take f16 too.
enum class Element { f32, bf16, f16 };

}  // namespace isogrid::kernels
