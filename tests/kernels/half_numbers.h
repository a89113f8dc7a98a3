#pragma once
// The half types by their definitions, to hold the kernels to.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace isogrid::kernels {

inline float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                          : exponent == 31
                              ? (fraction ? NAN : INFINITY)
                              : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}
inline float from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

/// The half number nearest to a float of ordinary size, ties to even: by looking at both sides.
inline uint16_t nearest_half(float value, float (*widen)(uint16_t)) {
  uint16_t low = 0, high = 0x7bff;
  while (low + 1 < high) {
    const auto middle = static_cast<uint16_t>((low + high) / 2);
    (widen(middle) <= std::abs(value) ? low : high) = middle;
  }
  const double below = std::abs(value) - double{widen(low)},
               above = double{widen(high)} - std::abs(value);
  const uint16_t bits = below < above || (below == above && low % 2 == 0) ? low : high;
  return std::signbit(value) ? bits | 0x8000 : bits;
}

}  // namespace isogrid::kernels
