#pragma once
#include <string>

namespace isogrid::kernels {

/// The instruction sets a kernel is compiled for; one table of functions each. A kernel that has
/// no use for the last one serves it with the one before.
enum class Isa { baseline, avx2, avx512, avx512bf16 };

/// The best one this processor runs. ISOGRID_ISA=baseline|avx2|avx512 lowers it, for tests.
Isa best_isa();

/// What `trainer --version` prints, for example "avx2 avx512 avx512_bf16".
std::string cpu_feature_names();

}  // namespace isogrid::kernels
