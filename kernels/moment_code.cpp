#include "kernels/moment_code.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/optimizer.h"

namespace isogrid::kernels {
namespace {

/// Point i of `count` evenly spaced ones in [0.1, 1], counted from the nearer end and rounded once,
/// as LibTorch's linspace does in float32.
float spaced(int i, int count) {
  const double step = (1.0f - 0.1f) / static_cast<float>(count - 1);
  return static_cast<float>(i < count / 2 ? double{0.1f} + step * i : 1.0 - step * (count - 1 - i));
}

/// Dettmers et al., "8-bit optimizers via block-wise quantization" (ICLR 2022): seven decades down
/// from one, each with half as many evenly spaced values as the one above, and zero and one.
void fill_values(bool with_sign, float* values) {
  int used = 0;
  for (int decade = 0; decade < 7; ++decade) {
    const int points = (with_sign ? 1 << decade : 2 << decade) + 1;
    const auto size = static_cast<float>(std::pow(10.0, decade - 6));
    for (int i = 0; i + 1 < points; ++i) {
      const float value = size * ((spaced(i, points) + spaced(i + 1, points)) / 2.0f);
      values[used++] = value;
      if (with_sign) values[used++] = -value;
    }
  }
  values[used++] = 0.0f;
  values[used++] = 1.0f;
  std::sort(values, values + used);
}

uint8_t nearest(const MomentCode& code, float value) {
  const float* end = code.thresholds + 255;
  return static_cast<uint8_t>(std::lower_bound(code.thresholds, end, value) - code.thresholds);
}

MomentCode make_codes(bool with_sign) {
  MomentCode code{};
  fill_values(with_sign, code.values);
  for (int i = 0; i < 255; ++i) code.thresholds[i] = (code.values[i] + code.values[i + 1]) * 0.5f;
  code.thresholds[255] = std::numeric_limits<float>::infinity();
  for (uint32_t bucket = 0; bucket < MomentCode::kBuckets; ++bucket) {
    const uint32_t bits = MomentCode::kLowest + (bucket << MomentCode::kBucketShift);
    const uint32_t largest = bits + (1u << MomentCode::kBucketShift) - 1;
    const float from = bucket == 0 ? 0.0f : __builtin_bit_cast(float, bits);
    code.first_code[bucket] = nearest(code, from);
    code.first_code[MomentCode::kBuckets + bucket] =
        nearest(code, -__builtin_bit_cast(float, largest));
  }
  return code;
}

}  // namespace

const MomentCode& moment_codes(bool with_sign) {
  static const MomentCode of_both_signs = make_codes(true), not_negative = make_codes(false);
  return with_sign ? of_both_signs : not_negative;
}

const float* moment_code(bool with_sign) { return moment_codes(with_sign).values; }

}  // namespace isogrid::kernels
