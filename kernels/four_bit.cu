#include "kernels/four_bit.h"

#include "kernels/device_vector.cuh"

namespace isogrid::kernels {
namespace {

struct SixteenValues {
  float of[16];
};

__device__ inline float scale_at(const FourBitTensor& tensor, int64_t block) {
  if (tensor.scales != nullptr) return tensor.scales[block];
  const float part = __fmul_rn(tensor.scale_map[tensor.scale_codes[block]],
                               tensor.group_scales[block / tensor.group]);
  return __fadd_rn(part, tensor.offset);
}

/// A warp takes 1024 numbers: each lane loads the codes of 32 at once, and then expands four times
/// eight such that neighbouring lanes write neighbouring places.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    expand_four_bit(FourBitTensor tensor, SixteenValues values, T* to, int64_t first,
                    int64_t last) {
  // Sixteen entries in sixteen banks: no two codes collide.
  __shared__ float table[16];
  __shared__ uint4 staged[kThreads];
  if (threadIdx.x < 16) table[threadIdx.x] = values.of[threadIdx.x];
  __syncthreads();
  const int lane = threadIdx.x % 32;
  const int64_t warp = (blockIdx.x * int64_t{kThreads} + threadIdx.x) / 32;
  const int64_t tile = (first / 1024 + warp) * 1024;
  if (tile >= last) return;
  const int64_t own = tile + lane * 32, bytes = (last + 1) / 2;
  uint4 codes = {};
  if (own / 2 + 16 <= bytes) {
    codes = *reinterpret_cast<const uint4*>(tensor.codes + own / 2);
  } else {
    auto* part = reinterpret_cast<uint8_t*>(&codes);
    for (int64_t i = 0; own / 2 + i < bytes; ++i) part[i] = tensor.codes[own / 2 + i];
  }
  uint4* warp_codes = staged + threadIdx.x / 32 * 32;
  warp_codes[lane] = codes;
  __syncwarp();
  const auto* words = reinterpret_cast<const uint32_t*>(warp_codes);
  const bool shares_scale = tensor.block % 8 == 0;
#pragma unroll
  for (int part = 0; part < 4; ++part) {
    const int64_t begin = tile + (part * 32 + lane) * 8;
    if (begin >= last || begin + 8 <= first) continue;
    const uint32_t word = words[part * 32 + lane];
    float scale = scale_at(tensor, begin / tensor.block);
    float numbers[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (!shares_scale && begin + i < last) scale = scale_at(tensor, (begin + i) / tensor.block);
      const uint32_t byte = word >> (i / 2 * 8);  // element 2i is the high nibble of its byte
      numbers[i] = __fmul_rn(table[(i % 2 == 0 ? byte >> 4 : byte) & 15], scale);
    }
    if (begin >= first) {
      store_eight(to + (begin - first), numbers, last - begin);
    } else {
      for (int i = 0; i < 8; ++i)
        if (begin + i >= first && begin + i < last)
          to[begin + i - first] = rounded_to<T>(numbers[i]);
    }
  }
}

}  // namespace

void dequantise_four_bit_on_device(const FourBitTensor& tensor, Element element, void* to,
                                   int64_t first, int64_t last, void* stream) {
  if (last <= first) return;
  SixteenValues values;
  for (int i = 0; i < 16; ++i) values.of[i] = tensor.values[i];
  const int64_t tiles = (last + 1023) / 1024 - first / 1024;
  by_element(element, [&](auto type) {
    expand_four_bit<<<blocks_for(tiles * 32), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
        tensor, values, static_cast<decltype(type)*>(to), first, last);
  });
  check_launch("four-bit expansion");
}

}  // namespace isogrid::kernels
