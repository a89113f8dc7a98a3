#include "models/activation_rounding.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "quant/gguf_grid.h"
#include "quant/row_chunks.h"

namespace isogrid {
namespace {

void round_token(const float* x, int64_t count, float* to) {
  float low = 0.0f, high = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  const float scale = std::max((high - low) / 255.0f, 1.1920929e-7f), inverse = 1.0f / scale;
  const float zero = std::clamp(-128.0f - std::nearbyint(low / scale), -128.0f, 127.0f);
  for (int64_t i = 0; i < count; ++i) {
    const float code = std::clamp(std::nearbyint(x[i] * inverse) + zero, -128.0f, 127.0f);
    to[i] = (code - zero) * scale;
  }
}

/// 256 values: the extreme, with its sign, is code -127.
void round_super_block(const float* x, float* to) {
  constexpr int64_t kSuper = 256;
  float most = 0.0f, extreme = 0.0f;
  for (int64_t i = 0; i < kSuper; ++i)
    if (std::abs(x[i]) > most) {
      most = std::abs(x[i]);
      extreme = x[i];
    }
  const float inverse = most > 0.0f ? -127.0f / extreme : 0.0f;
  const float scale = most > 0.0f ? 1.0f / inverse : 0.0f;
  for (int64_t i = 0; i < kSuper; ++i)
    to[i] = std::min(127.0f, std::nearbyint(inverse * x[i])) * scale;
}

void round_row(ActivationRounding rounding, const Grid& q8_0, const float* x, int64_t count,
               float* to) {
  if (rounding == ActivationRounding::int8_token) return round_token(x, count, to);
  if (rounding == ActivationRounding::q8_0) return q8_0.round_trip(x, nullptr, count, to);
  for (int64_t first = 0; first < count; first += 256) round_super_block(x + first, to + first);
}

}  // namespace

at::Tensor rounded_activations(const at::Tensor& x, ActivationRounding rounding) {
  if (rounding == ActivationRounding::none) return x;
  static const std::shared_ptr<const Grid> q8_0 = make_gguf_grid("gguf:q8_0");
  const at::Tensor wide = x.detach().to(at::kCPU, at::kFloat).contiguous();
  const int64_t columns = wide.size(1);
  at::Tensor out = at::empty(wide.sizes(), wide.options());
  for_row_chunks(wide.size(0), columns, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      round_row(rounding, *q8_0, wide.const_data_ptr<float>() + row * columns, columns,
                out.mutable_data_ptr<float>() + row * columns);
  });
  return out.to(x.device(), x.scalar_type());
}

}  // namespace isogrid
