// Four bits that index sixteen uneven levels: IQ4_NL and IQ4_XS. Compiled once per instruction set,
// with ISOGRID_ISA naming the namespace, and without joined multiplications and additions: the
// bytes must not depend on the processor.
#include "kernels/intrinsics.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "quant/grids/lanes.inc"
#include "quant/grids/search.inc"

constexpr int kBlock = 32, kSuper = 256, kTrials = 7;
constexpr int kNlBytes = 18, kXsBytes = 136;
constexpr int kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                            1,    13,   25,  38,  53,  69,  89,  113};

/// Where one level gives way to the next; a tie goes up.
inline float border(int i) { return static_cast<float>(kTable[i] + kTable[i + 1]) * 0.5f; }

inline IntLanes nearest_level(Lanes x) {
  IntLanes index = splat_int(15);
  for (int i = 0; i < 15; ++i) index += x < border(i);  // -1 where it holds
  return index;
}
inline Lanes level(IntLanes index) {
  Lanes value = splat(static_cast<float>(kTable[0]));
  for (int i = 1; i < 16; ++i) value = index >= i ? splat(static_cast<float>(kTable[i])) : value;
  return value;
}
/// The value of the nearest level.
inline Lanes snapped(Lanes x) {
  Lanes value = splat(static_cast<float>(kTable[15]));
  for (int i = 14; i >= 0; --i)
    value = x < border(i) ? splat(static_cast<float>(kTable[i])) : value;
  return value;
}

/// The best of sixteen scales about the one that maps the extreme to an end of the table.
inline Lanes fit_levels(const Lanes* x, const Lanes* w) {
  Lanes most, extreme;
  extremes<kBlock>(x, most, extreme);
  const IntLanes empty = most < kNothing;
  extreme = empty ? splat(1.0f) : extreme;
  Lanes product, square;
  const auto measure = [&](Lanes inverse) {
    product = square = Lanes{};
    for (int i = 0; i < kBlock; ++i) {
      const Lanes value = snapped(inverse * x[i]);
      const Lanes weighted = w[i] * value;
      product += weighted * x[i];
      square += weighted * value;
    }
  };
  measure(1.0f / (-extreme / static_cast<float>(kTable[0])));
  Lanes scale = square > 0.0f ? product / square : Lanes{};
  Lanes best = scale * product;
  for (int k = -kTrials; k <= kTrials; ++k) {
    measure(splat(static_cast<float>(k + kTable[0])) / extreme);
    const IntLanes better = (square > 0.0f) & (product * product > best * square);
    const Lanes found = product / square;
    scale = better ? found : scale;
    best = better ? found * product : best;
  }
  return empty ? Lanes{} : scale;
}

/// 1 / d where d is something.
inline Lanes inverse_or_zero(Lanes d) {
  const Lanes inverted = 1.0f / d;
  return d != 0.0f ? inverted : Lanes{};
}

/// Sixteen blocks of 32: the codes of x in units of `scale`, packed two in a byte.
inline void store_nibbles(const Lanes* x, Lanes scale, int64_t count, std::byte* to,
                          int64_t (*place)(int64_t)) {
  const Lanes inverse = inverse_or_zero(scale);
  IntLanes codes[kBlock];
  for (int i = 0; i < kBlock; ++i) codes[i] = nearest_level(inverse * x[i]);
  for (int64_t lane = 0; lane < count; ++lane)
    for (int i = 0; i < 16; ++i)
      to[place(lane) + i] = static_cast<std::byte>(codes[i][lane] | codes[i + 16][lane] << 4);
}

/// Weights of sixteen blocks: importance and the mean square of what `per_variance` blocks share.
inline void weigh_blocks(const float* values, const Lanes* x, const float* const* importance,
                         int64_t count, int64_t per_variance, Lanes* w) {
  if (importance == nullptr) {
    for (int i = 0; i < kBlock; ++i) w[i] = x[i] * x[i];
    return;
  }
  Lanes variance{}, u[kBlock]{};
  auto* to = reinterpret_cast<float*>(u);
  const int64_t shared = per_variance * kBlock;
  for (int64_t lane = 0; lane < count; ++lane) {
    if (lane % per_variance == 0) {
      const float mean =
          energy(values + lane * kBlock, shared) * (2.0f / static_cast<float>(shared));
      for (int64_t i = lane; i < lane + per_variance; ++i) variance[i] = mean;
    }
    for (int i = 0; i < kBlock; ++i) to[i * kLanes + lane] = importance[lane][i];
  }
  weigh<kBlock>(x, u, variance, w);
}

int64_t nl_place(int64_t lane) { return lane * kNlBytes + 2; }
int64_t xs_place(int64_t lane) { return lane / 8 * kXsBytes + 8 + lane % 8 * 16; }

inline void finish_nl(const Lanes* x, Lanes scales, int64_t count, std::byte* to) {
  for (int64_t lane = 0; lane < count; ++lane) put_half(to + lane * kNlBytes, scales[lane]);
  store_nibbles(x, scales, count, to, nl_place);
}

inline void finish_xs(const Lanes* x, Lanes scales, int64_t count, std::byte* to) {
  Lanes stored{};
  for (int64_t first = 0; first < count; first += 8) {
    std::byte* block = to + first / 8 * kXsBytes;
    float most = 0.0f, extreme = 0.0f;
    for (int64_t j = first; j < first + 8; ++j)
      if (__builtin_fabsf(scales[j]) > most) {
        most = __builtin_fabsf(scales[j]);
        extreme = scales[j];
      }
    const float d = -extreme / 32, id = inverse(d);
    put_half(block, d);
    uint16_t high = 0;
    uint8_t low[4] = {};
    for (int64_t j = 0; j < 8; ++j) {
      int32_t code = nearest_one(id * scales[first + j]);
      code = code < -32 ? -32 : code > 31 ? 31 : code;
      stored[first + j] = d * static_cast<float>(code);
      low[j / 2] = static_cast<uint8_t>(low[j / 2] | ((code + 32) & 15) << 4 * (j % 2));
      high = static_cast<uint16_t>(high | ((code + 32) >> 4) << 2 * j);
    }
    __builtin_memcpy(block + 2, &high, sizeof high);
    __builtin_memcpy(block + 4, low, sizeof low);
  }
  store_nibbles(x, stored, count, to, xs_place);
}

/// `together` blocks of 32 share a variance and, in IQ4_XS, a scale.
template <int together, void (*finish)(const Lanes*, Lanes, int64_t, std::byte*)>
void encode(const float* values, const float* importance, int64_t rows, int64_t columns,
            std::byte* blocks) {
  const int64_t per_row = columns / kBlock, count = rows * per_row;
  constexpr int64_t bytes = together == 8 ? kXsBytes : kNlBytes;
  for (int64_t first = 0; first < count; first += kLanes) {
    const int64_t n = count - first < kLanes ? count - first : kLanes;
    Lanes x[kBlock], w[kBlock];
    const float* weights[kLanes] = {};
    if (importance != nullptr)
      for (int64_t j = 0; j < n; ++j) weights[j] = importance + (first + j) % per_row * kBlock;
    load_blocks<kBlock>(values + first * kBlock, n, x);
    weigh_blocks(values + first * kBlock, x, importance == nullptr ? nullptr : weights, n, together,
                 w);
    finish(x, fit_levels(x, w), n, blocks + first / together * bytes);
  }
}

inline void decode_nibbles(const std::byte* nibbles, float scale, float* values) {
  const IntLanes bytes = widened(load_bytes(nibbles));
  store(values, level(bytes & 15) * scale);
  store(values + kLanes, level(bytes >> 4) * scale);
}

void decode_nl(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kNlBytes, values += kBlock)
    decode_nibbles(blocks + 2, get_half(blocks), values);
}

/// The scale of each of the eight blocks of 32 in a block of 256.
inline float xs_scale(const std::byte* block, int j) {
  uint16_t high;
  __builtin_memcpy(&high, block + 2, sizeof high);
  const int low = std::to_integer<int>(block[4 + j / 2]) >> 4 * (j % 2) & 15;
  return get_half(block) * static_cast<float>((low | (high >> 2 * j & 3) << 4) - 32);
}

template <int together>
void recode(const float* values, int64_t count, std::byte* blocks) {
  constexpr int64_t bytes = together == 8 ? kXsBytes : kNlBytes;
  for (int64_t first = 0; first < count * together; first += kLanes) {
    const int64_t n = count * together - first < kLanes ? count * together - first : kLanes;
    std::byte* to = blocks + first / together * bytes;
    Lanes x[kBlock], scale{};
    load_blocks<kBlock>(values + first * kBlock, n, x);
    for (int64_t lane = 0; lane < n; ++lane)
      scale[lane] = together == 8 ? xs_scale(to + lane / 8 * kXsBytes, static_cast<int>(lane % 8))
                                  : get_half(to + lane * kNlBytes);
    store_nibbles(x, scale, n, to, together == 8 ? xs_place : nl_place);
  }
}

void decode_xs(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += kXsBytes) {
    for (int j = 0; j < kSuper / kBlock; ++j, values += kBlock)
      decode_nibbles(blocks + 8 + 16 * j, xs_scale(blocks, j), values);
  }
}

}  // namespace

const BlockCodec iq4_nl = {encode<1, finish_nl>, decode_nl, recode<1>};
const BlockCodec iq4_xs = {encode<8, finish_xs>, decode_xs, recode<8>};

}  // namespace isogrid::grids::ISOGRID_ISA
