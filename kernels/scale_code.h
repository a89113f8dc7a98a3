#pragma once
#include <cstdint>

namespace isogrid::kernels {

/// The eight-bit codes of the scales of four-bit blocks ("double quantisation"), as bitsandbytes
/// finds them on a CPU: a scale over its group's largest magnitude is brought to one of 65536 even
/// steps of [-1, 1], and takes the code whose value lies nearest to that step.
class ScaleCoder {
 public:
  /// `map`: the 256 values, ascending.
  explicit ScaleCoder(const float* map);

  /// `count` scales in groups of `group`; writes a code each and the largest magnitude of each
  /// group. A NaN takes code 0 and counts for no group's largest magnitude.
  void encode(const float* scales, int64_t count, int64_t group, uint8_t* codes,
              float* group_scales) const;

 private:
  static constexpr int kSteps = 65536;
  uint8_t code_of_step_[kSteps];
};

}  // namespace isogrid::kernels
