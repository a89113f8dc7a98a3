#include "kernels/packed_groups.h"

#include "kernels/device_vector.cuh"

namespace isogrid::kernels {
namespace {

__device__ inline int64_t group_at(const PackedGroups& w, int64_t column) {
  return w.group_of != nullptr ? w.group_of[column] : column / w.group_size;
}

/// The scales' type is asked at run time: every thread of a launch answers alike.
__device__ inline float scale_at(const PackedGroups& w, int64_t i) {
  if (w.scale_type == Element::f32) return static_cast<const float*>(w.scales)[i];
  if (w.scale_type == Element::bf16) return widened(static_cast<const __nv_bfloat16*>(w.scales)[i]);
  return widened(static_cast<const __half*>(w.scales)[i]);
}

__device__ inline float rounded_as(Element type, float value) {
  if (type == Element::bf16) return widened(rounded_to<__nv_bfloat16>(value));
  return type == Element::f16 ? widened(rounded_to<__half>(value)) : value;
}

/// Codes [column, column + 32) of a row, `bits` words; what lies behind the row's end is zero.
template <int bits>
__device__ inline void load_words(const PackedGroups& w, int64_t row, int64_t column,
                                  uint32_t (&words)[bits + 1]) {
  const auto* from =
      reinterpret_cast<const uint32_t*>(w.codes + row * w.row_bytes) + column / 32 * bits;
  const int64_t left = w.row_bytes / 4 - column / 32 * bits;
  words[bits] = 0;
  if (bits % 4 == 0 && left >= bits && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < bits / 4; ++i) {
      const uint4 four = reinterpret_cast<const uint4*>(from)[i];
      words[4 * i] = four.x;
      words[4 * i + 1] = four.y;
      words[4 * i + 2] = four.z;
      words[4 * i + 3] = four.w;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < bits; ++i) words[i] = i < left ? from[i] : 0;
}

/// A thread takes 32 columns of a row.
template <int bits, typename T>
__global__ void __launch_bounds__(kThreads)
    expand_packed_groups(PackedGroups w, T* to, int64_t first, int64_t last, int64_t chunks) {
  const int64_t number = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  const int64_t row = first + number / chunks, column = number % chunks * 32;
  if (row >= last) return;
  uint32_t words[bits + 1];
  load_words<bits>(w, row, column, words);
  T* place = to + (row - first) * w.columns + column;
  int64_t known = -1;
  float scale = 0, zero = 0;
#pragma unroll
  for (int eight = 0; eight < 4; ++eight) {
    float numbers[8] = {};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int bit = (eight * 8 + i) * bits;
      if (column + eight * 8 + i >= w.columns) continue;
      const int64_t group = group_at(w, column + eight * 8 + i);
      if (group != known) {
        known = group;
        scale = scale_at(w, row * w.groups + group);
        zero = static_cast<float>(w.zeros != nullptr ? w.zeros[row * w.groups + group] : w.zero);
      }
      const uint64_t pair = words[bit / 32] | static_cast<uint64_t>(words[bit / 32 + 1]) << 32;
      const auto code = static_cast<uint32_t>(pair >> (bit % 32)) & ((1u << bits) - 1);
      const float product = __fmul_rn(static_cast<float>(code) - zero, scale);
      numbers[i] = rounded_as(w.scale_type, product);
    }
    const int64_t count = w.columns - column - eight * 8;
    if (count > 0) store_eight(place + eight * 8, numbers, count);
  }
}

template <int bits>
void launch_packed(const PackedGroups& w, Element element, void* to, int64_t first, int64_t last,
                   cudaStream_t stream) {
  const int64_t chunks = (w.columns + 31) / 32;
  by_element(element, [&](auto type) {
    expand_packed_groups<bits><<<blocks_for((last - first) * chunks), kThreads, 0, stream>>>(
        w, static_cast<decltype(type)*>(to), first, last, chunks);
  });
}

}  // namespace

void dequantise_packed_groups_on_device(const PackedGroups& w, Element element, void* to,
                                        int64_t first, int64_t last, void* stream) {
  if (last <= first || w.columns == 0) return;
  const auto queue = static_cast<cudaStream_t>(stream);
  switch (w.bits) {
    case 2:
      launch_packed<2>(w, element, to, first, last, queue);
      break;
    case 3:
      launch_packed<3>(w, element, to, first, last, queue);
      break;
    case 8:
      launch_packed<8>(w, element, to, first, last, queue);
      break;
    default:
      launch_packed<4>(w, element, to, first, last, queue);
  }
  check_launch("packed-group expansion");
}

}  // namespace isogrid::kernels
