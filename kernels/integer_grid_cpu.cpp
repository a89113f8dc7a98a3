// Compiled once per instruction set, with ISOGRID_ISA naming the namespace, and without joined
// multiplications and additions: the bits must not depend on the processor.
#include "kernels/integer_grid.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

constexpr float kLargestHalf = 65504.0f, kLargestShared = 65280.0f;

inline float as_half(float value) {
  F16 half;
  store_one(&half, value);
  return load_one(&half);
}

inline float as_bfloat(float value) {
  Bf16 rounded;
  store_one(&rounded, value);
  return load_one(&rounded);
}

inline float limited(float value, float largest) {
  if (value > largest) return largest;
  return value < -largest ? -largest : value;
}

float stored_scale(ScaleRounding rounding, float value) {
  switch (rounding) {
    case ScaleRounding::none:
      break;
    case ScaleRounding::half:
      return as_half(limited(value, kLargestHalf));
    case ScaleRounding::bfloat:
      return as_bfloat(value);
    case ScaleRounding::shared16:
      return as_half(as_bfloat(limited(value, kLargestShared)));
  }
  return value;
}

inline Lanes load_weights(const IntegerRule& rule, const float* from, int64_t n) {
  const Lanes x = load(from, n);
  return rule.half_input ? widen_half(narrow_half(x)) : x;
}

struct Extremes {
  float low, high;
};

/// Of a group and zero; of the group alone where it has a zero of its own.
Extremes group_extremes(const IntegerRule& rule, const float* row, int64_t columns) {
  Lanes low = splat(rule.has_zero ? row[0] : 0.0f), high = low;
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    const Lanes x = load_weights(rule, row + c, kLanes);
    low = x < low ? x : low;
    high = x > high ? x : high;
  }
  Extremes all{low[0], high[0]};
  for (int i = 1; i < kLanes; ++i) {
    all.low = low[i] < all.low ? low[i] : all.low;
    all.high = high[i] > all.high ? high[i] : all.high;
  }
  for (; c < columns; ++c) {
    const float x = rule.half_input ? as_half(row[c]) : row[c];
    all.low = x < all.low ? x : all.low;
    all.high = x > all.high ? x : all.high;
  }
  return all;
}

struct GroupScale {
  float scale, zero;
};

GroupScale group_scale(const IntegerRule& rule, const float* row, int64_t columns) {
  const Extremes e = group_extremes(rule, row, columns);
  float scale;
  if (rule.has_zero) {
    const float span = e.high - e.low;
    scale = (span > rule.smallest ? span : rule.smallest) / rule.divide_high;
    scale = stored_scale(rule.rounding, scale);
    return {scale, stored_scale(rule.rounding, e.low - static_cast<float>(rule.lowest) * scale)};
  }
  const float below = -e.low / rule.divide_low, above = e.high / rule.divide_high;
  scale = below > above ? below : above;
  if (scale < rule.smallest) scale = rule.smallest;
  return {stored_scale(rule.rounding, scale), 0.0f};
}

/// What turns a weight into its code: (x - zero) / divisor or (x - zero) * factor.
struct Coder {
  Lanes zero, number, lowest, highest;
  bool multiplies;

  Coder(const IntegerRule& rule, GroupScale g)
      : zero(splat(g.zero)),
        lowest(splat(static_cast<float>(rule.lowest))),
        highest(splat(static_cast<float>(rule.highest))),
        multiplies(rule.by_reciprocal) {
    // A group of zeros has no scale: every code is that of zero.
    const float unit = rule.value_factor == 1.0f ? 1.0f : static_cast<float>(rule.highest);
    const float reciprocal = g.scale == 0.0f ? 0.0f : unit / g.scale;
    multiplies = multiplies || g.scale == 0.0f;
    number = splat(multiplies ? reciprocal : g.scale);
  }

  /// Whole numbers, still as floats.
  Lanes code(Lanes x) const {
    const Lanes scaled = multiplies ? (x - zero) * number : (x - zero) / number;
    const Lanes above = scaled > lowest ? scaled : lowest;
    const Lanes inside = above < highest ? above : highest;
    const Lanes magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
    return inside + magic - magic;
  }
};

inline Lanes weight_of(const IntegerRule& rule, Lanes code, GroupScale g) {
  const Lanes scaled = code * splat(g.scale);
  if (rule.has_zero) return scaled + splat(g.zero);
  return rule.value_factor == 1.0f ? scaled : scaled * splat(rule.value_factor);
}

inline Lanes load_codes(const int8_t* from, int64_t n) {
  Lanes codes{};
  for (int64_t i = 0; i < n; ++i) codes[i] = static_cast<float>(from[i]);
  return codes;
}

typedef int8_t ByteLanes __attribute__((vector_size(16), aligned(1), may_alias));

inline void store_codes(int8_t* to, Lanes codes, int64_t n) {
  if (n == kLanes) {
    *reinterpret_cast<ByteLanes*>(to) =
        __builtin_convertvector(__builtin_convertvector(codes, IntLanes), ByteLanes);
    return;
  }
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<int8_t>(codes[i]);
}

inline int64_t group_of(const IntegerRule& rule, int64_t columns) {
  return rule.group == 0 ? columns : rule.group;
}

void code_group(const IntegerRule& rule, const float* row, int64_t columns, GroupScale g,
                int8_t* codes) {
  const Coder coder(rule, g);
  for_lanes(columns, [&](int64_t c, int64_t n) {
    store_codes(codes + c, coder.code(load_weights(rule, row + c, n)), n);
  });
}

void encode(const IntegerRule& rule, const float* row, int64_t columns, float* scales, float* zeros,
            int8_t* codes) {
  const int64_t group = group_of(rule, columns);
  for (int64_t first = 0, i = 0; first < columns; first += group, ++i) {
    const GroupScale g = group_scale(rule, row + first, group);
    scales[i] = g.scale;
    if (rule.has_zero) zeros[i] = g.zero;
    code_group(rule, row + first, group, g, codes + first);
  }
}

void recode(const IntegerRule& rule, const float* row, int64_t columns, const float* scales,
            const float* zeros, int8_t* codes) {
  const int64_t group = group_of(rule, columns);
  for (int64_t first = 0, i = 0; first < columns; first += group, ++i)
    code_group(rule, row + first, group, {scales[i], rule.has_zero ? zeros[i] : 0.0f},
               codes + first);
}

void decode(const IntegerRule& rule, const float* scales, const float* zeros, const int8_t* codes,
            int64_t columns, float* row) {
  const int64_t group = group_of(rule, columns);
  for (int64_t first = 0, i = 0; first < columns; first += group, ++i) {
    const GroupScale g{scales[i], rule.has_zero ? zeros[i] : 0.0f};
    for_lanes(group, [&](int64_t c, int64_t n) {
      store(row + first + c, weight_of(rule, load_codes(codes + first + c, n), g), n);
    });
  }
}

void round_trip(const IntegerRule& rule, const float* row, int64_t columns, float* out) {
  const int64_t group = group_of(rule, columns);
  for (int64_t first = 0; first < columns; first += group) {
    const GroupScale g = group_scale(rule, row + first, group);
    const Coder coder(rule, g);
    for_lanes(group, [&](int64_t c, int64_t n) {
      const Lanes codes = coder.code(load_weights(rule, row + first + c, n));
      store(out + first + c, weight_of(rule, codes, g), n);
    });
  }
}

void store_scales(const IntegerRule& rule, const float* scales, int64_t count, float* stored) {
  for (int64_t i = 0; i < count; ++i) stored[i] = stored_scale(rule.rounding, scales[i]);
}

}  // namespace

extern const IntegerGridKernels integer_grid_table;
const IntegerGridKernels integer_grid_table = {encode, recode, decode, round_trip, store_scales};

}  // namespace isogrid::kernels::ISOGRID_ISA
