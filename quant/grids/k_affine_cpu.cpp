// Super-blocks of 256 whose sub-blocks have a scale and a minimum: Q2_K, Q4_K, Q5_K. Compiled once
// per instruction set, with ISOGRID_ISA naming the namespace, and without joined multiplications
// and additions: the bytes must not depend on the processor.
#include "kernels/intrinsics.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "quant/grids/lanes.inc"
#include "quant/grids/search.inc"

constexpr int kSuper = 256;

/// The codes of a super-block's scales and minimums.
struct ScaleCodes {
  uint8_t scales[16], minimums[16];
};

// ---- packing: one struct for each format

struct Q2K {
  static constexpr int kSub = 16, kLevels = 3, kScaleLevels = 15, kBytes = 84, kHalves = 80;
  static constexpr AffineSearch kSearch = {kLevels, -0.5f, 0.1f, 15, /*absolute=*/true};

  static uint8_t scale_code(int32_t code) { return static_cast<uint8_t>(code); }
  static void store_scales(const ScaleCodes& codes, std::byte* to) {
    auto* bytes = reinterpret_cast<uint8_t*>(to);
    for (int j = 0; j < 16; ++j)
      bytes[j] = static_cast<uint8_t>(codes.scales[j] | codes.minimums[j] << 4);
  }
  static void store_codes(const uint8_t* codes, std::byte* to) {
    auto* bytes = reinterpret_cast<uint8_t*>(to);
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 32; ++i) {
        const uint8_t* code = codes + 128 * half + i;
        bytes[16 + 32 * half + i] =
            static_cast<uint8_t>(code[0] | code[32] << 2 | code[64] << 4 | code[96] << 6);
      }
  }
  static int scale_of(const std::byte* block, int j) { return std::to_integer<int>(block[j]) & 15; }
  static int minimum_of(const std::byte* block, int j) {
    return std::to_integer<int>(block[j]) >> 4;
  }
  static void decode(const std::byte* block, float d, float minimum, float* values) {
    for (int j = 0; j < 16; ++j) {
      const IntLanes bytes = widened(load_bytes(block + 16 + 32 * (j / 8) + 16 * (j % 2)));
      const IntLanes codes = (bytes >> 2 * (j % 8 / 2)) & 3;
      store(values + 16 * j, to_float(codes) * (d * static_cast<float>(scale_of(block, j))) -
                                 minimum * static_cast<float>(minimum_of(block, j)));
    }
  }
};

/// Eight scales and minimums of six bits in twelve bytes: Q4_K and Q5_K.
struct SixBits {
  static void store_scales(const ScaleCodes& block, std::byte* block_bytes) {
    auto* to = reinterpret_cast<uint8_t*>(block_bytes + 4);
    for (int j = 0; j < 4; ++j) {
      to[j] = block.scales[j];
      to[j + 4] = block.minimums[j];
    }
    for (int j = 4; j < 8; ++j) {
      to[j + 4] = static_cast<uint8_t>((block.scales[j] & 15) | (block.minimums[j] & 15) << 4);
      to[j - 4] = static_cast<uint8_t>(to[j - 4] | (block.scales[j] >> 4) << 6);
      to[j] = static_cast<uint8_t>(to[j] | (block.minimums[j] >> 4) << 6);
    }
  }
  static int scale_of(const std::byte* block, int j) {
    const auto* from = reinterpret_cast<const uint8_t*>(block + 4);
    return j < 4 ? from[j] & 63 : (from[j + 4] & 15) | (from[j - 4] >> 6) << 4;
  }
  static int minimum_of(const std::byte* block, int j) {
    const auto* from = reinterpret_cast<const uint8_t*>(block + 4);
    return j < 4 ? from[j + 4] & 63 : from[j + 4] >> 4 | (from[j] >> 6) << 4;
  }
};

template <int bits>
struct Q45K : SixBits {
  static constexpr int kSub = 32, kLevels = (1 << bits) - 1, kScaleLevels = 63;
  static constexpr int kHigh = 16, kLow = bits == 5 ? 48 : 16, kBytes = kLow + 128, kHalves = 0;
  static constexpr AffineSearch kSearch =
      bits == 4 ? AffineSearch{kLevels, -1.0f, 0.1f, 20} : AffineSearch{kLevels, -0.5f, 0.1f, 15};

  static uint8_t scale_code(int32_t code) {
    const int low = code & 0xff;
    return static_cast<uint8_t>(low < 63 ? low : 63);
  }
  static void store_codes(const uint8_t* codes, std::byte* to) {
    auto* bytes = reinterpret_cast<uint8_t*>(to);
    if (bits == 5) __builtin_memset(bytes + kHigh, 0, 32);
    for (int group = 0; group < 4; ++group)
      for (int i = 0; i < 32; ++i) {
        const int front = codes[64 * group + i], back = codes[64 * group + 32 + i];
        bytes[kLow + 32 * group + i] = static_cast<uint8_t>((front & 15) | (back & 15) << 4);
        if (bits == 5)
          bytes[kHigh + i] =
              static_cast<uint8_t>(bytes[kHigh + i] | (front >> 4 | (back >> 4) << 1) << 2 * group);
      }
  }
  static void decode(const std::byte* block, float d, float minimum, float* values) {
    for (int j = 0; j < 8; ++j) {
      const float scale = d * static_cast<float>(scale_of(block, j));
      const float offset = minimum * static_cast<float>(minimum_of(block, j));
      for (int part = 0; part < 2; ++part) {
        const IntLanes bytes = widened(load_bytes(block + kLow + 32 * (j / 2) + 16 * part));
        IntLanes codes = j % 2 == 0 ? bytes & 15 : bytes >> 4;
        if (bits == 5) {
          const IntLanes high = widened(load_bytes(block + kHigh + 16 * part));
          codes |= ((high >> j) & 1) << 4;
        }
        store(values + 32 * j + 16 * part, to_float(codes) * scale - offset);
      }
    }
  }
};

// ---- fitting, the same for all

/// The sub-blocks of one lane group: sixteen, of one super-block or of two.
template <typename Format>
struct Group {
  static constexpr int kSub = Format::kSub, kPerBlock = kSuper / kSub;
  Lanes x[kSub], w[kSub], sum_w{};
  IntLanes codes[kSub];
  AffineFit fit;
};

template <typename Format>
inline void weigh_plainly(Group<Format>& group) {
  constexpr int n = Format::kSub;
  if (Format::kSearch.absolute) {
    for (int i = 0; i < n; ++i) group.w[i] = magnitude(group.x[i]);
    return;
  }
  Lanes squares{};
  for (int i = 0; i < n; ++i) squares += group.x[i] * group.x[i];
  const Lanes average = root(squares / static_cast<float>(n));
  for (int i = 0; i < n; ++i) group.w[i] = average + magnitude(group.x[i]);
}

template <typename Format>
inline void weigh_by_importance(Group<Format>& group, const float* x,
                                const float* const* importance, int64_t blocks) {
  constexpr int n = Format::kSub, per_block = Group<Format>::kPerBlock;
  Lanes variance{}, u[n]{};
  auto* to = reinterpret_cast<float*>(u);
  for (int64_t block = 0; block < blocks; ++block) {
    const float sum = energy(x + block * kSuper, kSuper);
    for (int j = 0; j < per_block; ++j) {
      const int64_t lane = block * per_block + j;
      variance[lane] = (n == 16 ? sum : 2 * sum) / static_cast<float>(kSuper);
      for (int i = 0; i < n; ++i) to[i * kLanes + lane] = importance[block][j * n + i];
    }
  }
  weigh<n>(group.x, u, variance, group.w);
  for (int i = 0; i < n; ++i) group.sum_w += group.w[i];
}

/// One scale for the scales of a super-block: by the largest, or by a search where weights are
/// known.
template <typename Format>
inline float fit_scales(const float* values, const float* weights, uint8_t* codes) {
  constexpr int count = Group<Format>::kPerBlock;
  constexpr float levels = Format::kScaleLevels;
  if (weights != nullptr) {
    const float scale = fit_positive<count>(values, weights, Format::kScaleLevels, codes);
    if (Format::kLevels == 31)
      for (int j = 0; j < count; ++j) codes[j] = codes[j] < 63 ? codes[j] : uint8_t{63};
    return scale;
  }
  float most = 0.0f;
  for (int j = 0; j < count; ++j) most = values[j] > most ? values[j] : most;
  const float inverse = most > 0.0f ? levels / most : 0.0f;
  for (int j = 0; j < count; ++j)
    codes[j] = most > 0.0f ? Format::scale_code(nearest_one(inverse * values[j])) : uint8_t{0};
  return most > 0.0f ? most / levels : 0.0f;
}

/// The codes again, for the scale and minimum that are stored; where the scale is nothing, any do.
template <typename Format>
inline void assign_codes(Group<Format>& group, Lanes scale, Lanes minimum) {
  const IntLanes empty = scale == 0.0f;
  for (int i = 0; i < Format::kSub; ++i) {
    const IntLanes code = clamped(nearest((group.x[i] + minimum) / scale), 0, Format::kLevels);
    group.codes[i] = empty ? group.codes[i] : code;
  }
}

template <typename Format>
inline void encode_group(const float* x, const float* const* importance, int64_t blocks,
                         std::byte* to) {
  constexpr int n = Format::kSub, per_block = Group<Format>::kPerBlock;
  Group<Format> group;
  load_blocks<n>(x, blocks * per_block, group.x);
  AffineSearch search = Format::kSearch;
  if (importance == nullptr) {
    weigh_plainly(group);
  } else {
    weigh_by_importance(group, x, importance, blocks);
    search = {Format::kLevels, -0.9f, 0.05f, 36};
  }
  group.fit = fit_affine<n>(group.x, group.w, search, group.codes);
  Lanes scales{}, minimums{};
  for (int64_t block = 0; block < blocks; ++block) {
    std::byte* bytes = to + block * Format::kBytes;
    float scale[per_block], minimum[per_block], weight[per_block];
    for (int j = 0; j < per_block; ++j) {
      scale[j] = group.fit.scale[block * per_block + j];
      minimum[j] = group.fit.minimum[block * per_block + j];
      weight[j] = group.sum_w[block * per_block + j];
    }
    ScaleCodes fitted;
    const float* weights = importance == nullptr ? nullptr : weight;
    put_half(bytes + Format::kHalves, fit_scales<Format>(scale, weights, fitted.scales));
    put_half(bytes + Format::kHalves + 2, fit_scales<Format>(minimum, weights, fitted.minimums));
    Format::store_scales(fitted, bytes);
    const float d = get_half(bytes + Format::kHalves), m = get_half(bytes + Format::kHalves + 2);
    for (int j = 0; j < per_block; ++j) {
      scales[block * per_block + j] = d * static_cast<float>(Format::scale_of(bytes, j));
      minimums[block * per_block + j] = m * static_cast<float>(Format::minimum_of(bytes, j));
    }
  }
  assign_codes(group, scales, minimums);
  uint8_t codes[kLanes * n];
  store_blocks<n>(group.codes, blocks * per_block, codes);
  for (int64_t block = 0; block < blocks; ++block)
    Format::store_codes(codes + block * kSuper, to + block * Format::kBytes);
}

template <typename Format>
void encode(const float* values, const float* importance, int64_t rows, int64_t columns,
            std::byte* blocks) {
  constexpr int64_t together = kLanes / Group<Format>::kPerBlock;
  const int64_t per_row = columns / kSuper, count = rows * per_row;
  for (int64_t i = 0; i < count; i += together) {
    const int64_t n = count - i < together ? count - i : together;
    const float* weights[together] = {};
    if (importance != nullptr)
      for (int64_t j = 0; j < n; ++j) weights[j] = importance + (i + j) % per_row * kSuper;
    encode_group<Format>(values + i * kSuper, importance == nullptr ? nullptr : weights, n,
                         blocks + i * Format::kBytes);
  }
}

template <typename Format>
void recode(const float* values, int64_t count, std::byte* blocks) {
  constexpr int n = Format::kSub, per_block = Group<Format>::kPerBlock;
  constexpr int64_t together = kLanes / per_block;
  for (int64_t i = 0; i < count; i += together) {
    const int64_t now = count - i < together ? count - i : together;
    std::byte* to = blocks + i * Format::kBytes;
    Lanes x[n], scale{}, minimum{};
    load_blocks<n>(values + i * kSuper, now * per_block, x);
    for (int64_t block = 0; block < now; ++block) {
      const std::byte* bytes = to + block * Format::kBytes;
      const float d = get_half(bytes + Format::kHalves), m = get_half(bytes + Format::kHalves + 2);
      for (int j = 0; j < per_block; ++j) {
        scale[block * per_block + j] = d * static_cast<float>(Format::scale_of(bytes, j));
        minimum[block * per_block + j] = m * static_cast<float>(Format::minimum_of(bytes, j));
      }
    }
    const IntLanes empty = scale == 0.0f;
    IntLanes code[n];
    for (int k = 0; k < n; ++k) {
      const IntLanes found =
          nearest(within((x[k] + minimum) / scale, 0.0f, static_cast<float>(Format::kLevels)));
      code[k] = empty ? IntLanes{} : found;
    }
    uint8_t codes[kLanes * n];
    store_blocks<n>(code, now * per_block, codes);
    for (int64_t block = 0; block < now; ++block)
      Format::store_codes(codes + block * kSuper, to + block * Format::kBytes);
  }
}

template <typename Format>
void decode(const std::byte* blocks, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i, blocks += Format::kBytes, values += kSuper)
    Format::decode(blocks, get_half(blocks + Format::kHalves),
                   get_half(blocks + Format::kHalves + 2), values);
}

}  // namespace

const BlockCodec q2_k = {encode<Q2K>, decode<Q2K>, recode<Q2K>};
const BlockCodec q4_k = {encode<Q45K<4>>, decode<Q45K<4>>, recode<Q45K<4>>};
const BlockCodec q5_k = {encode<Q45K<5>>, decode<Q45K<5>>, recode<Q45K<5>>};

}  // namespace isogrid::grids::ISOGRID_ISA
