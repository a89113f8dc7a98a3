// One to two bits a value: TQ1_0, TQ2_0, Q1_0 and Q2_0. Compiled once per instruction set, with
// ISOGRID_ISA naming the namespace, and without joined multiplications and additions: the bytes
// must not depend on the processor.
#include "kernels/intrinsics.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "quant/grids/lanes.inc"

constexpr int kSuper = 256, kTq1Bytes = 54, kTq2Bytes = 66;
constexpr int kOneBlock = 128, kTwoBlock = 64, kSmallBytes = 18;

/// The codes of `count` values in units of the largest magnitude, -1 ... 1 stored as 0 ... 2.
inline void ternary_codes(const float* x, float d, int count, uint8_t* codes) {
  const float id = inverse(d);
  for (int i = 0; i < count; i += kLanes) {
    const IntLanes code = rounded_away(within(load(x + i) * id, -1.0f, 1.0f)) + 1;
    store_bytes(reinterpret_cast<std::byte*>(codes + i), code);
  }
}

// ---- TQ1_0: five trits in a byte

/// A stretch of `bytes` bytes, each of `trits` values that lie `bytes` apart.
struct TritStretch {
  int first_byte, first_value, bytes, trits;
};
constexpr TritStretch kStretches[] = {{0, 0, 32, 5}, {32, 160, 16, 5}, {48, 240, 4, 4}};

inline uint8_t packed_trits(const uint8_t* codes, const TritStretch& stretch) {
  uint8_t number = 0;
  for (int n = 0; n < 5; ++n)
    number = static_cast<uint8_t>(number * 3 + (n < stretch.trits ? codes[n * stretch.bytes] : 0));
  // Rounded up in units of 3^5, so that multiplying brings the trits out at the top.
  return static_cast<uint8_t>((number * 256 + 242) / 243);
}

inline void put_tq1(const float* x, float d, std::byte* block) {
  uint8_t codes[kSuper];
  ternary_codes(x, d, kSuper, codes);
  for (const TritStretch& stretch : kStretches)
    for (int m = 0; m < stretch.bytes; ++m)
      block[stretch.first_byte + m] =
          static_cast<std::byte>(packed_trits(codes + stretch.first_value + m, stretch));
}

void encode_tq1(const float* values, const float*, int64_t rows, int64_t columns,
                std::byte* blocks) {
  for (int64_t i = 0; i < rows * columns / kSuper; ++i) {
    const float* x = values + i * kSuper;
    std::byte* block = blocks + i * kTq1Bytes;
    const float d = largest_magnitude(x, kSuper / kLanes);
    put_tq1(x, d, block);
    put_half(block + 52, d);
  }
}

void recode_tq1(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i, blocks += kTq1Bytes, values += kSuper)
    put_tq1(values, get_half(blocks + 52), blocks);
}

void decode_tq1(const std::byte* blocks, int64_t count, float* values) {
  constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  for (int64_t i = 0; i < count; ++i, blocks += kTq1Bytes, values += kSuper) {
    const float d = get_half(blocks + 52);
    for (const TritStretch& stretch : kStretches)
      for (int n = 0; n < stretch.trits; ++n)
        for (int m = 0; m < stretch.bytes; ++m) {
          const auto byte = std::to_integer<uint8_t>(blocks[stretch.first_byte + m]);
          const auto turned = static_cast<uint8_t>(byte * kPowers[n]);
          values[stretch.first_value + n * stretch.bytes + m] =
              static_cast<float>((turned * 3 >> 8) - 1) * d;
        }
  }
}

// ---- TQ2_0: two bits, four values 32 apart in a byte

inline void put_tq2(const float* x, float d, std::byte* block) {
  uint8_t codes[kSuper];
  ternary_codes(x, d, kSuper, codes);
  for (int half = 0; half < 2; ++half)
    for (int m = 0; m < 32; ++m) {
      const uint8_t* code = codes + 128 * half + m;
      block[32 * half + m] = static_cast<std::byte>((code[0] & 3) | (code[32] & 3) << 2 |
                                                    (code[64] & 3) << 4 | (code[96] & 3) << 6);
    }
}

void encode_tq2(const float* values, const float*, int64_t rows, int64_t columns,
                std::byte* blocks) {
  for (int64_t i = 0; i < rows * columns / kSuper; ++i) {
    const float* x = values + i * kSuper;
    std::byte* block = blocks + i * kTq2Bytes;
    const float d = largest_magnitude(x, kSuper / kLanes);
    put_tq2(x, d, block);
    put_half(block + 64, d);
  }
}

void recode_tq2(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i, blocks += kTq2Bytes, values += kSuper)
    put_tq2(values, get_half(blocks + 64), blocks);
}

void decode_tq2(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kTq2Bytes, values += kSuper) {
    const float d = get_half(blocks + 64);
    for (int half = 0; half < 2; ++half)
      for (int part = 0; part < 32; part += kLanes) {
        const IntLanes bytes = widened(load_bytes(blocks + 32 * half + part));
        for (int n = 0; n < 4; ++n)
          store(values + 128 * half + 32 * n + part, to_float((bytes >> 2 * n & 3) - 1) * d);
      }
  }
}

// ---- Q1_0: a sign, and the mean magnitude

inline void put_signs(const float* x, float sign, std::byte* block) {
  for (int j = 0; j < kOneBlock; j += 8) {
    int bits = 0;
    for (int bit = 0; bit < 8; ++bit) bits |= (x[j + bit] * sign >= 0.0f ? 1 : 0) << bit;
    block[2 + j / 8] = static_cast<std::byte>(bits);
  }
}

void encode_one(const float* values, const float*, int64_t rows, int64_t columns,
                std::byte* blocks) {
  for (int64_t i = 0; i < rows * columns / kOneBlock; ++i) {
    const float* x = values + i * kOneBlock;
    std::byte* block = blocks + i * kSmallBytes;
    float sum = 0.0f;
    for (int j = 0; j < kOneBlock; ++j) sum += __builtin_fabsf(x[j]);
    put_half(block, sum / static_cast<float>(kOneBlock));
    put_signs(x, 1.0f, block);
  }
}

void recode_one(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i, blocks += kSmallBytes, values += kOneBlock)
    put_signs(values, get_half(blocks) < 0.0f ? -1.0f : 1.0f, blocks);
}

void decode_one(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kSmallBytes, values += kOneBlock) {
    const float d = get_half(blocks);
    for (int j = 0; j < kOneBlock; ++j)
      values[j] = (std::to_integer<int>(blocks[2 + j / 8]) >> j % 8 & 1) != 0 ? d : -d;
  }
}

// ---- Q2_0: -1, 0, 1 and 2 times the scale

inline void put_two(const float* x, float d, std::byte* block) {
  const float id = inverse(d);
  uint8_t codes[kTwoBlock];
  for (int j = 0; j < kTwoBlock; j += kLanes)
    store_bytes(reinterpret_cast<std::byte*>(codes + j),
                rounded_away(within(load(x + j) * id, -1.0f, 2.0f)) + 1);
  for (int j = 0; j < kTwoBlock; j += 4)
    block[2 + j / 4] = static_cast<std::byte>(codes[j] | codes[j + 1] << 2 | codes[j + 2] << 4 |
                                              codes[j + 3] << 6);
}

void encode_two(const float* values, const float*, int64_t rows, int64_t columns,
                std::byte* blocks) {
  for (int64_t i = 0; i < rows * columns / kTwoBlock; ++i) {
    const float* x = values + i * kTwoBlock;
    std::byte* block = blocks + i * kSmallBytes;
    const float d = largest_magnitude(x, kTwoBlock / kLanes);
    put_half(block, d);
    put_two(x, d, block);
  }
}

void recode_two(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i, blocks += kSmallBytes, values += kTwoBlock)
    put_two(values, get_half(blocks), blocks);
}

void decode_two(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kSmallBytes, values += kTwoBlock) {
    const float d = get_half(blocks);
    for (int j = 0; j < kTwoBlock; ++j)
      values[j] =
          static_cast<float>((std::to_integer<int>(blocks[2 + j / 4]) >> 2 * (j % 4) & 3) - 1) * d;
  }
}

}  // namespace

const BlockCodec tq1_0 = {encode_tq1, decode_tq1, recode_tq1};
const BlockCodec tq2_0 = {encode_tq2, decode_tq2, recode_tq2};
const BlockCodec q1_0 = {encode_one, decode_one, recode_one};
const BlockCodec q2_0 = {encode_two, decode_two, recode_two};

}  // namespace isogrid::grids::ISOGRID_ISA
