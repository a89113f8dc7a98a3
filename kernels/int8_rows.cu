#include "kernels/int8_rows.h"

#include "kernels/device_vector.cuh"

namespace isogrid::kernels {
namespace {

/// A thread takes sixteen codes of a row, in one load where they lie at a multiple of sixteen.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    expand_int8_rows(const int8_t* codes, const float* scales, T* to, int64_t first, int64_t last,
                     int64_t columns, int64_t chunks) {
  const int64_t number = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  const int64_t row = first + number / chunks, column = number % chunks * 16;
  if (row >= last) return;
  const int8_t* from = codes + row * columns + column;
  const int64_t count = min(columns - column, int64_t{16});
  union {
    int8_t codes[16];
    uint4 vector;
  } own = {};
  if (count == 16 && reinterpret_cast<uintptr_t>(from) % 16 == 0)
    own.vector = *reinterpret_cast<const uint4*>(from);
  else
    for (int i = 0; i < count; ++i) own.codes[i] = from[i];
  const float scale = scales[row];
  T* place = to + (row - first) * columns + column;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float numbers[8];
#pragma unroll
    for (int i = 0; i < 8; ++i)
      numbers[i] =
          __fmul_rn(__fmul_rn(static_cast<float>(own.codes[half * 8 + i]), scale), 1.0f / 127.0f);
    if (half * 8 < count) store_eight(place + half * 8, numbers, count - half * 8);
  }
}

}  // namespace

void dequantise_int8_rows_on_device(const int8_t* codes, const float* scales, Element element,
                                    void* to, int64_t first, int64_t last, int64_t columns,
                                    void* stream) {
  if (last <= first || columns == 0) return;
  const int64_t chunks = (columns + 15) / 16;
  by_element(element, [&](auto type) {
    expand_int8_rows<<<blocks_for((last - first) * chunks), kThreads, 0,
                       static_cast<cudaStream_t>(stream)>>>(
        codes, scales, static_cast<decltype(type)*>(to), first, last, columns, chunks);
  });
  check_launch("int8 expansion");
}

}  // namespace isogrid::kernels
