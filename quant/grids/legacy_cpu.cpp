// Blocks of 32 with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. Compiled once per instruction set,
// with ISOGRID_ISA naming the namespace, and without joined multiplications and additions: the
// bytes must not depend on the processor.
#include "kernels/intrinsics.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "quant/grids/lanes.inc"
#include "quant/grids/search.inc"

constexpr int kBlock = 32;

/// Layout: d, then m where there is a minimum, then the fifth bits, then the nibbles.
template <int bits, bool with_minimum>
struct Layout {
  static constexpr int kLevels = 1 << bits;  // number of codes
  static constexpr int kHigh = with_minimum ? 4 : 2;
  static constexpr int kNibbles = kHigh + (bits == 5 ? 4 : 0);
  static constexpr int kBytes = kNibbles + kBlock / 2;
};

/// The bit of each lane, gathered into a word.
inline uint32_t gathered(WordLanes bit) {
  WordLanes word = bit << reinterpret_cast<WordLanes>(lane_numbers());
  word |= turned8(word);
  word |= turned4(word);
  word |= turned2(word);
  return (word | turned1(word))[0];
}

template <int bits, bool with_minimum>
inline void put_codes(std::byte* block, IntLanes front, IntLanes back) {
  using L = Layout<bits, with_minimum>;
  store_bytes(block + L::kNibbles, (front & 15) | ((back & 15) << 4));
  if constexpr (bits == 5) {
    const uint32_t high = gathered(reinterpret_cast<WordLanes>(front >> 4) & 1u) |
                          gathered(reinterpret_cast<WordLanes>(back >> 4) & 1u) << 16;
    __builtin_memcpy(block + L::kHigh, &high, sizeof high);
  }
}

/// Of zeros of both signs the engine keeps the first it meets.
inline float first_zero(const float* x) {
  for (int i = 0; i < kBlock; ++i)
    if (x[i] == 0.0f) return x[i];
  return 0.0f;
}

/// The scale follows from the extreme, or from both ends.
template <int bits, bool with_minimum>
inline void encode_block(const float* x, std::byte* block) {
  using L = Layout<bits, with_minimum>;
  Lanes front = load(x), back = load(x + kLanes);
  if constexpr (with_minimum) {
    Lanes low = splat(__FLT_MAX__), high = splat(-__FLT_MAX__);
    low = smallest_lane(smaller(back, smaller(front, low)));
    high = largest_lane(larger(back, larger(front, high)));
    if (low[0] == 0.0f) low = splat(first_zero(x));
    const float range = high[0] == low[0] ? 0.0f : high[0] - low[0];  // never -0
    const float d = range / static_cast<float>(L::kLevels - 1);
    put_half(block, d);
    put_half(block + 2, low[0]);
    const float id = inverse(d);
    front = (front - low) * id + 0.5f;
    back = (back - low) * id + 0.5f;
  } else {
    const float d = signed_extreme(x, 2) / static_cast<float>(-L::kLevels / 2);
    put_half(block, d);
    const float id = inverse(d);
    front = front * id + (static_cast<float>(L::kLevels / 2) + 0.5f);
    back = back * id + (static_cast<float>(L::kLevels / 2) + 0.5f);
  }
  const IntLanes most = splat_int(L::kLevels - 1);
  put_codes<bits, with_minimum>(block, smaller(truncated(front), most),
                                smaller(truncated(back), most));
}

/// Sixteen blocks of one row: importance chooses scale and minimum by a search.
template <int bits, bool with_minimum>
inline void encode_weighted(const float* x, const float* importance, float variance, int64_t count,
                            std::byte* blocks) {
  using L = Layout<bits, with_minimum>;
  Lanes values[kBlock], weights[kBlock];
  IntLanes codes[kBlock];
  load_blocks<kBlock>(x, count, values);
  load_blocks<kBlock>(importance, count, weights);
  weigh<kBlock>(values, weights, splat(variance), weights);
  Lanes scale, minimum{};
  if constexpr (with_minimum) {
    const AffineSearch search{
        .levels = L::kLevels - 1, .first = -0.9f, .step = 0.05f, .trials = 36};
    const AffineFit fit = fit_affine<kBlock>(values, weights, search, codes);
    scale = fit.scale;
    minimum = -fit.minimum;
  } else {
    scale = fit_symmetric<kBlock>(values, weights, L::kLevels / 2, codes);
  }
  alignas(64) int32_t code[kBlock];
  for (int64_t lane = 0; lane < count; ++lane) {
    std::byte* block = blocks + lane * L::kBytes;
    for (int i = 0; i < kBlock; ++i) code[i] = codes[i][lane];
    put_half(block, scale[lane]);
    if constexpr (with_minimum) put_half(block + 2, minimum[lane]);
    put_codes<bits, with_minimum>(block, *reinterpret_cast<const IntLanes*>(code),
                                  *reinterpret_cast<const IntLanes*>(code + kLanes));
  }
}

template <int bits, bool with_minimum>
void encode(const float* values, const float* importance, int64_t rows, int64_t columns,
            std::byte* blocks) {
  constexpr int kBytes = Layout<bits, with_minimum>::kBytes;
  const int64_t count = columns / kBlock;
  if (importance == nullptr) {
    for (int64_t i = 0; i < rows * count; ++i)
      encode_block<bits, with_minimum>(values + i * kBlock, blocks + i * kBytes);
    return;
  }
  for (int64_t row = 0; row < rows; ++row) {
    const float* x = values + row * columns;
    const float variance = energy(x, columns) / static_cast<float>(columns);
    for (int64_t i = 0; i < count; i += kLanes)
      encode_weighted<bits, with_minimum>(x + i * kBlock, importance + i * kBlock, variance,
                                          count - i < kLanes ? count - i : kLanes,
                                          blocks + (row * count + i) * kBytes);
  }
}

template <int bits, bool with_minimum>
void decode(const std::byte* blocks, int64_t count, float* values) {
  using L = Layout<bits, with_minimum>;
  for (int64_t i = 0; i < count; ++i, blocks += L::kBytes, values += kBlock) {
    const float d = get_half(blocks);
    const IntLanes nibbles = widened(load_bytes(blocks + L::kNibbles));
    IntLanes front = nibbles & 15, back = nibbles >> 4;
    if constexpr (bits == 5) {
      uint32_t high;
      __builtin_memcpy(&high, blocks + L::kHigh, sizeof high);
      const WordLanes all = high - WordLanes{}, at = reinterpret_cast<WordLanes>(lane_numbers());
      front |= reinterpret_cast<IntLanes>(((all >> at) & 1u) << 4);
      back |= reinterpret_cast<IntLanes>(((all >> (at + 16u)) & 1u) << 4);
    }
    if constexpr (with_minimum) {
      const float minimum = get_half(blocks + 2);
      store(values, to_float(front) * d + minimum);
      store(values + kLanes, to_float(back) * d + minimum);
    } else {
      store(values, to_float(front - L::kLevels / 2) * d);
      store(values + kLanes, to_float(back - L::kLevels / 2) * d);
    }
  }
}

template <int bits, bool with_minimum>
void recode(const float* values, int64_t count, std::byte* blocks) {
  using L = Layout<bits, with_minimum>;
  constexpr float kMost = L::kLevels - 1, kMiddle = with_minimum ? 0.0f : L::kLevels / 2;
  for (int64_t i = 0; i < count; ++i, blocks += L::kBytes, values += kBlock) {
    const float id = inverse(get_half(blocks));
    const float low = with_minimum ? get_half(blocks + 2) : 0.0f;
    const auto code = [&](Lanes x) {
      return truncated(within((x - low) * id + (kMiddle + 0.5f), 0.0f, kMost));
    };
    put_codes<bits, with_minimum>(blocks, code(load(values)), code(load(values + kLanes)));
  }
}

constexpr int kEightBytes = 2 + kBlock;

void encode_eight(const float* values, const float*, int64_t rows, int64_t columns,
                  std::byte* blocks) {
  for (int64_t i = 0; i < rows * columns / kBlock; ++i) {
    const float* x = values + i * kBlock;
    std::byte* block = blocks + i * kEightBytes;
    const float d = largest_magnitude(x, 2) / 127.0f, id = inverse(d);
    put_half(block, d);
    store_bytes(block + 2, rounded_away(load(x) * id));
    store_bytes(block + 2 + kLanes, rounded_away(load(x + kLanes) * id));
  }
}

void recode_eight(const float* values, int64_t count, std::byte* blocks) {
  for (int64_t i = 0; i < count; ++i, blocks += kEightBytes, values += kBlock) {
    const float id = inverse(get_half(blocks));
    for (int64_t part = 0; part < kBlock; part += kLanes)
      store_bytes(blocks + 2 + part,
                  rounded_away(within(load(values + part) * id, -127.0f, 127.0f)));
  }
}

void decode_eight(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kEightBytes, values += kBlock) {
    const float d = get_half(blocks);
    for (int64_t part = 0; part < kBlock; part += kLanes) {
      const auto codes = reinterpret_cast<SignedByteLanes>(load_bytes(blocks + 2 + part));
      store(values + part, to_float(__builtin_convertvector(codes, IntLanes)) * d);
    }
  }
}

}  // namespace

const BlockCodec q4_0 = {encode<4, false>, decode<4, false>, recode<4, false>};
const BlockCodec q4_1 = {encode<4, true>, decode<4, true>, recode<4, true>};
const BlockCodec q5_0 = {encode<5, false>, decode<5, false>, recode<5, false>};
const BlockCodec q5_1 = {encode<5, true>, decode<5, true>, recode<5, true>};
const BlockCodec q8_0 = {encode_eight, decode_eight, recode_eight};

}  // namespace isogrid::grids::ISOGRID_ISA
