#pragma once
#include <cstdint>

namespace isogrid::kernels {

/// The code book of an eight-bit moment, and the way to the nearest value of it.
///
/// Sign and leading bits of a number name a bucket so narrow that at most one threshold lies
/// inside: the nearest code is the one of the bucket's smallest number, or the next.
struct MomentCode {
  static constexpr int kBucketShift = 16;           // keeps seven bits of the fraction
  static constexpr uint32_t kLowest = 0x33000000u;  // 2^-25: what is smaller is nearest to zero
  static constexpr uint32_t kBuckets = ((0x3f800000u - kLowest) >> kBucketShift) + 1;

  float values[256];                 // ascending
  float thresholds[256];             // between values[i] and values[i + 1]; the last is infinite
  uint8_t first_code[2 * kBuckets];  // of the positive buckets, then of the negative ones
};

/// Of both signs, or of numbers that are not negative.
const MomentCode& moment_codes(bool with_sign);

}  // namespace isogrid::kernels
