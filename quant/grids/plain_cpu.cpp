// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/intrinsics.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

template <typename T>
void encode_plain(const float* values, const float*, int64_t rows, int64_t columns,
                  std::byte* blocks) {
  T* to = reinterpret_cast<T*>(blocks);
  for_lanes(rows * columns, [&](int64_t i, int64_t n) { store(to + i, load(values + i, n), n); });
}

template <typename T>
void decode_plain(const std::byte* blocks, int64_t count, float* values) {
  const T* from = reinterpret_cast<const T*>(blocks);
  for_lanes(count, [&](int64_t i, int64_t n) { store(values + i, load(from + i, n), n); });
}

void copy_encode(const float* values, const float*, int64_t rows, int64_t columns,
                 std::byte* blocks) {
  __builtin_memcpy(blocks, values, static_cast<size_t>(rows * columns) * sizeof(float));
}
void copy_decode(const std::byte* blocks, int64_t count, float* values) {
  __builtin_memcpy(values, blocks, static_cast<size_t>(count) * sizeof(float));
}

}  // namespace

const BlockCodec f32 = {copy_encode, copy_decode};
const BlockCodec f16 = {encode_plain<F16>, decode_plain<F16>};
const BlockCodec bf16 = {encode_plain<Bf16>, decode_plain<Bf16>};

}  // namespace isogrid::grids::ISOGRID_ISA
