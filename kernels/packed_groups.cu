#include "kernels/packed_groups.h"

#include "kernels/device_vector.cuh"

namespace isogrid::kernels {
namespace {

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

/// Eight codes: as many bytes as a code has bits. What lies behind the row's end is zero.
template <int bits>
__device__ inline uint64_t load_eight(const uint8_t* from, int64_t left) {
  uint64_t stream = 0;
  if constexpr (bits % 4 == 0) {  // rows and eights begin at whole words
    for (int i = 0; i < bits; i += 4)
      if (i < left) stream |= uint64_t{*reinterpret_cast<const uint32_t*>(from + i)} << (8 * i);
  } else {
    for (int i = 0; i < bits; ++i)
      if (i < left) stream |= uint64_t{from[i]} << (8 * i);
  }
  return stream;
}

/// A thread takes eight columns of a row: neighbours read and write neighbouring places.
template <int bits, typename T>
__global__ void __launch_bounds__(kThreads)
    expand_packed_groups(PackedGroups w, T* to, int64_t first, int64_t last, int64_t eights) {
  const int64_t number = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  const int64_t row = first + number / eights, column = number % eights * 8;
  if (row >= last) return;
  const int64_t offset = column / 8 * bits;
  const uint64_t stream =
      load_eight<bits>(w.codes + row * w.row_bytes + offset, w.row_bytes - offset);
  const bool shares_group = w.group_of == nullptr && w.group_size % 8 == 0;
  float numbers[8] = {}, scale = 0, zero = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (column + i >= w.columns) break;
    if (i == 0 || !shares_group) {
      const int64_t group =
          w.group_of != nullptr ? w.group_of[column + i] : (column + i) / w.group_size;
      scale = scale_at(w, row * w.groups + group);
      zero = static_cast<float>(w.zeros != nullptr ? w.zeros[row * w.groups + group] : w.zero);
    }
    const auto code = static_cast<uint32_t>(stream >> (i * bits)) & ((1u << bits) - 1);
    numbers[i] = rounded_as(w.scale_type, __fmul_rn(static_cast<float>(code) - zero, scale));
  }
  store_eight(to + (row - first) * w.columns + column, numbers, w.columns - column);
}

template <int bits>
void launch_packed(const PackedGroups& w, Element element, void* to, int64_t first, int64_t last,
                   cudaStream_t stream) {
  const int64_t eights = (w.columns + 7) / 8;
  by_element(element, [&](auto type) {
    expand_packed_groups<bits><<<blocks_for((last - first) * eights), kThreads, 0, stream>>>(
        w, static_cast<decltype(type)*>(to), first, last, eights);
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
