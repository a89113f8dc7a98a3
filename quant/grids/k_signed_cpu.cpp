// Super-blocks of 256 whose sub-blocks have a signed scale: Q3_K and Q6_K. Compiled once per
// instruction set, with ISOGRID_ISA naming the namespace, and without joined multiplications and
// additions: the bytes must not depend on the processor.
#include "kernels/intrinsics.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "quant/grids/lanes.inc"
#include "quant/grids/search.inc"

constexpr int kSuper = 256, kSub = 16;  // sixteen sub-blocks: one in each lane

// ---- packing: one struct for each format

struct Q3K {
  static constexpr int kLevels = 4, kBytes = 110, kHigh = 0, kLow = 32, kScales = 96, kHalf = 108;

  static void store_scales(const IntLanes& scales, std::byte* to) {
    auto* bytes = reinterpret_cast<uint8_t*>(to + kScales);
    __builtin_memset(bytes, 0, 12);
    for (int j = 0; j < 16; ++j) {
      const int stored = scales[j] + 32;
      bytes[j % 8] = static_cast<uint8_t>(bytes[j % 8] | (stored & 15) << (j < 8 ? 0 : 4));
      bytes[8 + j % 4] = static_cast<uint8_t>(bytes[8 + j % 4] | (stored >> 4 & 3) << 2 * (j / 4));
    }
  }
  static int scale_of(const std::byte* block, int j) {
    const auto* from = reinterpret_cast<const uint8_t*>(block + kScales);
    const int low = from[j % 8] >> (j < 8 ? 0 : 4) & 15;
    return (low | (from[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
  }
  static void store_codes(const uint8_t* codes, std::byte* to) {
    auto* bytes = reinterpret_cast<uint8_t*>(to);
    for (int i = 0; i < 32; ++i) {
      int high = 0;
      for (int bit = 0; bit < 8; ++bit) high |= (codes[32 * bit + i] >> 2) << bit;
      bytes[kHigh + i] = static_cast<uint8_t>(high);
    }
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 32; ++i) {
        const uint8_t* code = codes + 128 * half + i;
        bytes[kLow + 32 * half + i] = static_cast<uint8_t>(
            (code[0] & 3) | (code[32] & 3) << 2 | (code[64] & 3) << 4 | (code[96] & 3) << 6);
      }
  }
  static IntLanes codes_of(const std::byte* block, int j) {
    const IntLanes low = widened(load_bytes(block + kLow + 32 * (j / 8) + 16 * (j % 2)));
    const IntLanes high = widened(load_bytes(block + kHigh + 16 * (j % 2)));
    return (low >> 2 * (j % 8 / 2) & 3) + ((high >> j / 2 & 1) << 2) - 4;
  }
};

struct Q6K {
  static constexpr int kLevels = 32, kBytes = 210, kLow = 0, kHigh = 128, kScales = 192,
                       kHalf = 208;

  static void store_scales(const IntLanes& scales, std::byte* to) {
    store_bytes(to + kScales, scales);
  }
  static int scale_of(const std::byte* block, int j) {
    return static_cast<int8_t>(std::to_integer<uint8_t>(block[kScales + j]));
  }
  static void store_codes(const uint8_t* codes, std::byte* to) {
    auto* bytes = reinterpret_cast<uint8_t*>(to);
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 32; ++i) {
        const uint8_t* code = codes + 128 * half + i;
        bytes[kLow + 64 * half + i] = static_cast<uint8_t>((code[0] & 15) | (code[64] & 15) << 4);
        bytes[kLow + 64 * half + 32 + i] =
            static_cast<uint8_t>((code[32] & 15) | (code[96] & 15) << 4);
        bytes[kHigh + 32 * half + i] = static_cast<uint8_t>(
            code[0] >> 4 | (code[32] >> 4) << 2 | (code[64] >> 4) << 4 | (code[96] >> 4) << 6);
      }
  }
  static IntLanes codes_of(const std::byte* block, int j) {
    const int half = j / 8, quarter = j % 8 / 2, part = 16 * (j % 2);
    const IntLanes low = widened(load_bytes(block + kLow + 64 * half + 32 * (quarter % 2) + part));
    const IntLanes high = widened(load_bytes(block + kHigh + 32 * half + part));
    return ((low >> 4 * (quarter / 2) & 15) | (high >> 2 * quarter & 3) << 4) - 32;
  }
};

// ---- fitting

struct SuperFit {
  float d;
  IntLanes scales;  // signed
};

/// The scale of largest magnitude, the first one of several.
inline float extreme_scale(Lanes scales) {
  const float most = largest_lane(magnitude(scales))[0];
  for (int j = 0; j < kLanes; ++j)
    if (magnitude(scales)[j] == most) return scales[j];
  return 0.0f;
}

inline SuperFit fit_q6(Lanes scales) {
  const float inverse = -128.0f / extreme_scale(scales);
  const IntLanes codes = nearest(inverse * scales);
  return {1 / inverse, codes > 127 ? splat_int(127) : codes};
}

inline SuperFit fit_q3(Lanes scales) {
  const float extreme = extreme_scale(scales);
  if (extreme == 0.0f) return {0.0f, splat_int(-32)};
  const float inverse = -32.0f / extreme;
  return {1 / inverse, clamped(nearest(inverse * scales), -32, 31)};
}

/// The sub-blocks' scales are themselves a block, of which each counts as its weights do.
inline SuperFit fit_q3_weighted(Lanes scales, Lanes sum_w) {
  Lanes x[kSub]{}, w[kSub]{};
  IntLanes codes[kSub];
  for (int j = 0; j < kSub; ++j) {
    x[j][0] = scales[j];
    w[j][0] = sum_w[j];
  }
  SuperFit fit{fit_symmetric<kSub>(x, w, 32, codes)[0], {}};
  for (int j = 0; j < kSub; ++j) fit.scales[j] = codes[j][0] - 32;
  return fit;
}

/// The codes again, for the scales that are stored; where a scale is nothing, any do.
template <typename Format>
inline void finish_block(const Lanes* x, IntLanes* codes, const SuperFit& fit, std::byte* to) {
  put_half(to + Format::kHalf, fit.d);
  Format::store_scales(fit.scales, to);
  const float d = get_half(to + Format::kHalf);
  Lanes scale;
  for (int j = 0; j < kLanes; ++j) scale[j] = d * static_cast<float>(Format::scale_of(to, j));
  const IntLanes empty = scale == 0.0f;
  for (int i = 0; i < kSub; ++i) {
    const IntLanes code =
        clamped(nearest(x[i] / scale), -Format::kLevels, Format::kLevels - 1) + Format::kLevels;
    codes[i] = empty ? codes[i] : code;
  }
  uint8_t bytes[kSuper];
  store_blocks<kSub>(codes, kLanes, bytes);
  Format::store_codes(bytes, to);
}

inline void encode_q3(const float* values, const float* importance, std::byte* to) {
  Lanes x[kSub], w[kSub], scales;
  IntLanes codes[kSub];
  load_blocks<kSub>(values, kLanes, x);
  SuperFit fit;
  if (importance == nullptr) {
    scales = refine_symmetric<kSub>(x, Q3K::kLevels, codes);
    fit = fit_q3(scales);
  } else {
    load_blocks<kSub>(importance, kLanes, w);
    weigh<kSub>(x, w, splat(2 * energy(values, kSuper) / static_cast<float>(kSuper)), w);
    Lanes sum_w{};
    for (int i = 0; i < kSub; ++i) sum_w += w[i];
    scales = fit_symmetric<kSub>(x, w, Q3K::kLevels, codes);
    fit = fit_q3_weighted(scales, sum_w);
  }
  finish_block<Q3K>(x, codes, fit, to);
}

inline void encode_q6(const float* values, const float* importance, std::byte* to) {
  Lanes x[kSub], w[kSub];
  IntLanes codes[kSub];
  load_blocks<kSub>(values, kLanes, x);
  if (importance == nullptr)
    for (int i = 0; i < kSub; ++i) w[i] = x[i] * x[i];
  else
    load_blocks<kSub>(importance, kLanes, w);
  const Lanes scales = fit_symmetric<kSub>(x, w, Q6K::kLevels, codes);
  if (!(largest_lane(magnitude(scales))[0] >= kNothing)) {
    __builtin_memset(to, 0, Q6K::kBytes);
    return;
  }
  finish_block<Q6K>(x, codes, fit_q6(scales), to);
}

template <typename Format, void (*encode_block)(const float*, const float*, std::byte*)>
void encode(const float* values, const float* importance, int64_t rows, int64_t columns,
            std::byte* blocks) {
  const int64_t per_row = columns / kSuper;
  for (int64_t i = 0; i < rows * per_row; ++i)
    encode_block(values + i * kSuper,
                 importance == nullptr ? nullptr : importance + i % per_row * kSuper,
                 blocks + i * Format::kBytes);
}

template <typename Format>
void recode(const float* values, int64_t count, std::byte* blocks) {
  constexpr float kLow = -Format::kLevels, kHigh = Format::kLevels - 1;
  for (int64_t i = 0; i < count; ++i, blocks += Format::kBytes, values += kSuper) {
    Lanes x[kSub], scale;
    load_blocks<kSub>(values, kLanes, x);
    const float d = get_half(blocks + Format::kHalf);
    for (int j = 0; j < kLanes; ++j) scale[j] = d * static_cast<float>(Format::scale_of(blocks, j));
    const IntLanes empty = scale == 0.0f;
    IntLanes codes[kSub];
    for (int k = 0; k < kSub; ++k) {
      const IntLanes code = nearest(within(x[k] / scale, kLow, kHigh));
      codes[k] = (empty ? IntLanes{} : code) + Format::kLevels;
    }
    uint8_t bytes[kSuper];
    store_blocks<kSub>(codes, kLanes, bytes);
    Format::store_codes(bytes, blocks);
  }
}

template <typename Format>
void decode(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += Format::kBytes) {
    const float d = get_half(blocks + Format::kHalf);
    for (int j = 0; j < kSuper / kSub; ++j, values += kSub)
      store(values, to_float(Format::codes_of(blocks, j)) *
                        (d * static_cast<float>(Format::scale_of(blocks, j))));
  }
}

}  // namespace

const BlockCodec q3_k = {encode<Q3K, encode_q3>, decode<Q3K>, recode<Q3K>};
const BlockCodec q6_k = {encode<Q6K, encode_q6>, decode<Q6K>, recode<Q6K>};

}  // namespace isogrid::grids::ISOGRID_ISA
