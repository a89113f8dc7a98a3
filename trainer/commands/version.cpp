#include <cpuid.h>
#include <torch/headeronly/version.h>

#include <cstdio>
#include <string>

#include "core/error.h"
#include "core/version.h"
#include "trainer/commands/commands.h"

namespace isogrid {
namespace {

/// What the kernels choose by, as the processor and the kernel of the system together allow it.
std::string processor_features() {
  std::string names;
  const auto add = [&names](const char* name, bool has) {
    if (has) names += concat(names.empty() ? "" : " ", name);
  };
  __builtin_cpu_init();
  add("avx2", __builtin_cpu_supports("avx2"));
  add("fma", __builtin_cpu_supports("fma"));
  add("avx512f", __builtin_cpu_supports("avx512f"));
  add("avx512_vnni", __builtin_cpu_supports("avx512vnni"));
  add("avx512_bf16", __builtin_cpu_supports("avx512bf16"));
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool has_leaf = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0;
  add("amx_tile", has_leaf && (d >> 24 & 1u));
  add("amx_bf16", has_leaf && (d >> 22 & 1u));
  add("amx_int8", has_leaf && (d >> 25 & 1u));
  return names.empty() ? "none of those the kernels use" : names;
}

#ifdef ISOGRID_WITH_CUDA
constexpr const char* cuda_build = "built in";
#else
constexpr const char* cuda_build = "not built in";
#endif

}  // namespace

int run_version(const Invocation&) {
  std::printf("isogrid    %s\n", std::string(program_version()).c_str());
  std::printf("commit     %s\n", std::string(program_commit()).c_str());
  std::printf("LibTorch   %s\n", TORCH_VERSION);
  std::printf("CUDA       %s\n", cuda_build);
  std::printf("processor  %s\n", processor_features().c_str());
  return 0;
}

}  // namespace isogrid
