// Four-bit floats with an exponent for the block: MXFP4 and NVFP4. Compiled once per instruction
// set, with ISOGRID_ISA naming the namespace, and without joined multiplications and additions: the
// bytes must not depend on the processor.
#include <cmath>

#include "kernels/intrinsics.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "quant/grids/lanes.inc"

/// The values of a four-bit float, doubled; the scales are halved in return.
constexpr int kDoubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
constexpr int kMxBlock = 32, kMxBytes = 17, kNvBlock = 64, kNvBytes = 36, kNvSub = 16;

/// The nearest value, the lower index of two.
inline IntLanes nearest_value(Lanes x, float scale) {
  IntLanes index{};
  Lanes best = magnitude(static_cast<float>(kDoubled[0]) * scale - x);
  for (int i = 1; i < 16; ++i) {
    const Lanes error = magnitude(static_cast<float>(kDoubled[i]) * scale - x);
    const IntLanes better = error < best;
    index = better ? splat_int(i) : index;
    best = better ? error : best;
  }
  return index;
}

inline Lanes value_of(IntLanes index) {
  const IntLanes size = index & 7;
  // 0 1 2 3 4 6 8 12: steps of one, then of two, then four.
  const IntLanes doubled = size < 5 ? size : size < 7 ? 2 * size - 4 : splat_int(12);
  const Lanes value = to_float(doubled);
  // Index 8 is +0, as it is in the table.
  return index > 8 ? -value : value;
}

inline float half_power(uint8_t exponent) {
  const uint32_t bits =
      exponent < 2 ? 0x00200000u << exponent : static_cast<uint32_t>(exponent - 1) << 23;
  return __builtin_bit_cast(float, bits);
}

void recode_mx(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i, blocks += kMxBytes, values += kMxBlock) {
    const float scale = half_power(std::to_integer<uint8_t>(blocks[0]));
    store_bytes(blocks + 1, nearest_value(load(values), scale) |
                                nearest_value(load(values + kLanes), scale) << 4);
  }
}

void encode_mx(const float* values, const float*, int64_t rows, int64_t columns,
               std::byte* blocks) {
  for (int64_t i = 0; i < rows * columns / kMxBlock; ++i) {
    const float* x = values + i * kMxBlock;
    std::byte* block = blocks + i * kMxBytes;
    const float most = largest_magnitude(x, 2);
    // log2f itself rounds numbers just below a power of two up to it: part of the format.
    const float exponent = most > 0.0f ? ::floorf(::log2f(most)) - 2 + 127 : 0.0f;
    const auto stored = static_cast<uint8_t>(static_cast<int32_t>(exponent));
    block[0] = static_cast<std::byte>(stored);
    recode_mx(x, 1, block);
  }
}

void decode_mx(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kMxBytes, values += kMxBlock) {
    const float scale = half_power(std::to_integer<uint8_t>(blocks[0]));
    const IntLanes bytes = widened(load_bytes(blocks + 1));
    store(values, value_of(bytes & 15) * scale);
    store(values + kLanes, value_of(bytes >> 4) * scale);
  }
}

/// An unsigned float of four exponent and three fraction bits; halves go up, 448 is the most.
inline uint8_t to_e4m3(float x) {
  if (!(x > 0.0f)) return 0;
  if (x > 448.0f) x = 448.0f;
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  int exponent = static_cast<int>(bits >> 23) - 127 + 7;
  if (exponent <= 0) {
    const int fraction = static_cast<int>(x * 512.0f + 0.5f);
    return static_cast<uint8_t>(fraction > 7 ? 7 : fraction);
  }
  int fraction = static_cast<int>(bits >> 20 & 7) + static_cast<int>(bits >> 19 & 1);
  if (fraction > 7) {
    fraction = 0;
    ++exponent;
  }
  return static_cast<uint8_t>(exponent >= 15 ? 0x7e : exponent << 3 | fraction);
}

/// Half of it, in return for the doubled values.
inline float half_e4m3(uint8_t x) {
  if (x == 0 || x == 0x7f) return 0.0f;
  const int exponent = x >> 3 & 15, fraction = x & 7;
  if (exponent == 0) return static_cast<float>(fraction) * 0x1p-10f;
  const uint32_t power = static_cast<uint32_t>(exponent - 7 - 1 + 127) << 23;
  return (1.0f + static_cast<float>(fraction) / 8.0f) * __builtin_bit_cast(float, power);
}

void recode_nv(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i, blocks += kNvBytes)
    for (int sub = 0; sub < 4; ++sub, values += kNvSub) {
      const float scale = half_e4m3(std::to_integer<uint8_t>(blocks[sub]));
      const IntLanes codes = nearest_value(load(values), scale);
      const IntLanes both = codes | turned8(codes) << 4;
      for (int j = 0; j < 8; ++j) blocks[4 + 8 * sub + j] = static_cast<std::byte>(both[j]);
    }
}

void encode_nv(const float* values, const float*, int64_t rows, int64_t columns,
               std::byte* blocks) {
  for (int64_t i = 0; i < rows * columns / kNvBlock; ++i) {
    std::byte* block = blocks + i * kNvBytes;
    for (int sub = 0; sub < 4; ++sub) {
      const float* x = values + i * kNvBlock + sub * kNvSub;
      block[sub] = static_cast<std::byte>(to_e4m3(largest_magnitude(x, 1) / 6.0f));
    }
    recode_nv(values + i * kNvBlock, 1, block);
  }
}

void decode_nv(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kNvBytes)
    for (int sub = 0; sub < 4; ++sub, values += kNvSub) {
      const float scale = half_e4m3(std::to_integer<uint8_t>(blocks[sub]));
      IntLanes codes;
      for (int j = 0; j < 8; ++j) {
        const int byte = std::to_integer<int>(blocks[4 + 8 * sub + j]);
        codes[j] = byte & 15;
        codes[j + 8] = byte >> 4;
      }
      store(values, value_of(codes) * scale);
    }
}

}  // namespace

const BlockCodec mxfp4 = {encode_mx, decode_mx, recode_mx};
const BlockCodec nvfp4 = {encode_nv, decode_nv, recode_nv};

}  // namespace isogrid::grids::ISOGRID_ISA
