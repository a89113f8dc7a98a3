#include "kernels/scale_code.h"

#include <algorithm>
#include <cmath>

namespace isogrid::kernels {

ScaleCoder::ScaleCoder(const float* map) {
  int code = 0;
  for (int step = 0; step < kSteps; ++step) {
    const double value = 2.0 * step / (kSteps - 1) - 1.0;
    while (code < 255 && std::abs(map[code + 1] - value) < std::abs(map[code] - value)) ++code;
    code_of_step_[step] = static_cast<uint8_t>(code);
  }
}

void ScaleCoder::encode(const float* scales, int64_t count, int64_t group, uint8_t* codes,
                        float* group_scales) const {
  for (int64_t begin = 0; begin < count; begin += group) {
    const int64_t end = std::min(begin + group, count);
    float largest = 0.0f;
    for (int64_t i = begin; i < end; ++i)
      if (std::abs(scales[i]) > largest) largest = std::abs(scales[i]);
    group_scales[begin / group] = largest;
    const float reciprocal = 1.0f / largest;
    for (int64_t i = begin; i < end; ++i) {
      const float u = scales[i] * reciprocal;
      if (std::isnan(u)) {
        codes[i] = 0;
        continue;
      }
      const float shifted = std::clamp(u, -1.0f, 1.0f) + 1.0f;
      const float place = shifted * 0.5f * static_cast<float>(kSteps - 1) + 0.5f;
      codes[i] = code_of_step_[std::min(static_cast<int>(place), kSteps - 1)];
    }
  }
}

}  // namespace isogrid::kernels
