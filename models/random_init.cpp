#include "models/random_init.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <cmath>
#include <numbers>

#include "core/rng.h"

namespace isogrid {
namespace {

float unit_interval(uint32_t word) {  // (0, 1]: a logarithm follows
  return (static_cast<float>(word >> 8) + 1.0f) * 0x1p-24f;
}

/// Four normal numbers of one Philox block, by the transformation of Box and Muller.
void fill_normal(float* to, int64_t count, const Rng& stream, float deviation) {
  at::parallel_for(0, (count + 3) / 4, 4096, [&](int64_t first, int64_t last) {
    for (int64_t number = first; number < last; ++number) {
      const PhiloxBlock words = stream.block(static_cast<uint64_t>(number));
      float four[4];
      for (int pair = 0; pair < 2; ++pair) {
        const float radius = std::sqrt(-2.0f * std::log(unit_interval(words[2 * pair])));
        const float angle = 2.0f * std::numbers::pi_v<float> * unit_interval(words[2 * pair + 1]);
        four[2 * pair] = deviation * radius * std::cos(angle);
        four[2 * pair + 1] = deviation * radius * std::sin(angle);
      }
      for (int64_t i = 0; i < 4 && number * 4 + i < count; ++i) to[number * 4 + i] = four[i];
    }
  });
}

}  // namespace

uint64_t name_hash(const std::string& name) {  // FNV-1a: stable for ever, unlike std::hash
  uint64_t hash = 14695981039346656037ull;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211ull;
  return hash;
}

void initialise_randomly(CausalLm& model, uint64_t seed, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  model.compute = type;
  model.visit([&](const TensorSlot& slot) {
    const auto shape = slot.tensor->sizes().vec();
    if (slot.role == Role::norm || slot.role == Role::bias) {
      *slot.tensor = at::full(shape, slot.role == Role::norm ? 1.0 : 0.0, type);
      return;
    }
    at::Tensor values = at::empty(shape, at::kFloat);
    fill_normal(values.mutable_data_ptr<float>(), values.numel(),
                Rng(seed, Purpose::initial_weights, {name_hash(slot.name)}),
                static_cast<float>(model.config.initializer_range));
    *slot.tensor = values.to(type);
  });
}

}  // namespace isogrid
