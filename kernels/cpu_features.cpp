#include "kernels/cpu_features.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace isogrid::kernels {
namespace {

Isa detected_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return __builtin_cpu_supports("avx512bf16") ? Isa::avx512bf16 : Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa lowered_isa() {
  const Isa isa = detected_isa();
  const char* wish = std::getenv("ISOGRID_ISA");
  if (wish == nullptr) return isa;
  if (std::string_view(wish) == "baseline") return Isa::baseline;
  if (std::string_view(wish) == "avx2") return std::min(isa, Isa::avx2);
  if (std::string_view(wish) == "avx512") return std::min(isa, Isa::avx512);
  return isa;
}

}  // namespace

Isa best_isa() {
  static const Isa isa = lowered_isa();
  return isa;
}

std::string cpu_feature_names() {
  std::string names;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) names += "avx2 ";
  if (__builtin_cpu_supports("avx512f")) names += "avx512 ";
  if (__builtin_cpu_supports("avx512vnni")) names += "avx512_vnni ";
  if (__builtin_cpu_supports("avx512bf16")) names += "avx512_bf16 ";
#endif
  if (names.empty()) return "baseline";
  names.pop_back();
  return names;
}

}  // namespace isogrid::kernels
