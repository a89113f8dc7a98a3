// Eight numbers at a time, rounded once from float32 and written in 16-byte stores: what the
// expansions on a GPU share.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/element.h"

namespace isogrid::kernels {

template <typename T>
__device__ inline T rounded_to(float value);
template <>
__device__ inline float rounded_to<float>(float value) {
  return value;
}
template <>
__device__ inline __nv_bfloat16 rounded_to<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__device__ inline __half rounded_to<__half>(float value) {
  return __float2half_rn(value);
}

__device__ inline float widened(float value) { return value; }
__device__ inline float widened(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ inline float widened(__half value) { return __half2float(value); }

/// The first `count` of eight numbers; whole eights to an aligned place take 16-byte stores.
template <typename T>
__device__ inline void store_eight(T* to, const float (&values)[8], int64_t count) {
  constexpr int kVectors = 8 * sizeof(T) / 16;
  union {
    T numbers[8];
    uint4 vectors[kVectors];
  } packed;
#pragma unroll
  for (int i = 0; i < 8; ++i) packed.numbers[i] = rounded_to<T>(values[i]);
  if (count >= 8 && reinterpret_cast<uintptr_t>(to) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) reinterpret_cast<uint4*>(to)[i] = packed.vectors[i];
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (i < count) to[i] = packed.numbers[i];
}

inline void check_launch(const char* what) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

constexpr int kThreads = 256;

inline unsigned blocks_for(int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

/// Calls launch(T{}) with the CUDA type of `element`.
template <typename Launch>
void by_element(Element element, Launch&& launch) {
  switch (element) {
    case Element::f32:
      return launch(float{});
    case Element::bf16:
      return launch(__nv_bfloat16{});
    case Element::f16:
      return launch(__half{});
  }
}

}  // namespace isogrid::kernels
