#include "kernels/moment_code.h"

#include <algorithm>
#include <cmath>

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

/// The subtree at `node`, in order.
void fill_tree(const float* values, int node, int& next, float* tree) {
  if (node >= 256) return;
  fill_tree(values, 2 * node, next, tree);
  tree[node] = (values[next] + values[next + 1]) * 0.5f;
  ++next;
  fill_tree(values, 2 * node + 1, next, tree);
}

MomentCode make_codes(bool with_sign) {
  MomentCode code{};
  fill_values(with_sign, code.values);
  int next = 0;
  fill_tree(code.values, 1, next, code.tree);
  return code;
}

}  // namespace

const MomentCode& moment_codes(bool with_sign) {
  static const MomentCode of_both_signs = make_codes(true), not_negative = make_codes(false);
  return with_sign ? of_both_signs : not_negative;
}

const float* moment_code(bool with_sign) { return moment_codes(with_sign).values; }

}  // namespace isogrid::kernels
