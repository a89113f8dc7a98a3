#include "models/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/reciprocal.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace isogrid {
namespace {

// The arithmetic below is float32 tensor arithmetic on purpose, in the order of the reference
// implementation: at position 30,000 the last bit of a frequency is visible in the logits.

at::Tensor base_powers(double base, int64_t head_dim) {
  const at::Tensor exponents =
      at::arange(0, head_dim, 2, at::kLong).to(at::kFloat) / static_cast<double>(head_dim);
  return at::pow(at::Scalar(base), exponents);
}

at::Tensor plain_frequencies(double base, int64_t head_dim) {
  return base_powers(base, head_dim).reciprocal();
}

at::Tensor llama3_frequencies(const RopeSettings& rope, int64_t head_dim) {
  const at::Tensor plain = plain_frequencies(rope.theta, head_dim);
  const double length = static_cast<double>(rope.original_max_position);
  const double low_wave = length / rope.low_freq_factor, high_wave = length / rope.high_freq_factor;
  const at::Tensor wave = plain.reciprocal() * (2 * std::numbers::pi);
  const at::Tensor slowed = at::where(wave > low_wave, plain / rope.factor, plain);
  const at::Tensor smooth = (wave.reciprocal() * length - rope.low_freq_factor) /
                            (rope.high_freq_factor - rope.low_freq_factor);
  const at::Tensor blended = (1 - smooth) * slowed / rope.factor + smooth * slowed;
  const at::Tensor between = wave.ge(high_wave).logical_and(wave.le(low_wave));
  return at::where(between, blended, slowed);
}

/// The dimension that turns `rotations` times over the trained length (YaRN paper, eq. 17).
double yarn_dimension(const RopeSettings& rope, double rotations, double head_dim) {
  return head_dim *
         std::log(static_cast<double>(rope.original_max_position) /
                  (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

at::Tensor yarn_frequencies(const RopeSettings& rope, int64_t head_dim) {
  double low = yarn_dimension(rope, rope.beta_fast, static_cast<double>(head_dim));
  double high = yarn_dimension(rope, rope.beta_slow, static_cast<double>(head_dim));
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;
  const at::Tensor ramp = ((at::arange(head_dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const at::Tensor powers = base_powers(rope.theta, head_dim);
  const at::Tensor kept = powers.reciprocal(), stretched = (powers * rope.factor).reciprocal();
  const at::Tensor share = 1 - ramp;
  return stretched * (1 - share) + kept * share;
}

double yarn_magnitude(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double yarn_amplitude(const RopeSettings& rope) {
  if (rope.attention_factor != 0) return rope.attention_factor;
  if (rope.mscale != 0 && rope.mscale_all_dim != 0)
    return yarn_magnitude(rope.factor, rope.mscale) /
           yarn_magnitude(rope.factor, rope.mscale_all_dim);
  return yarn_magnitude(rope.factor, 1.0);
}

double dynamic_base(const RopeSettings& rope, int64_t head_dim, int64_t max_position,
                    int64_t length) {
  const double ratio =
      static_cast<double>(std::max(length, max_position)) / static_cast<double>(max_position);
  const double dims = static_cast<double>(head_dim);
  return rope.theta * std::pow(rope.factor * ratio - (rope.factor - 1), dims / (dims - 2));
}

struct Angles {
  at::Tensor cosine, sine;
};

Angles angles_of(const RopeFrequencies& frequencies, int64_t first, int64_t count) {
  const at::Tensor angles =
      at::outer(at::arange(first, first + count, at::kFloat), frequencies.inverse);
  Angles result{angles.cos(), angles.sin()};
  if (frequencies.amplitude != 1.0) {
    result.cosine.mul_(frequencies.amplitude);
    result.sine.mul_(frequencies.amplitude);
  }
  return result;
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeSettings& rope, int64_t head_dim, int64_t max_position,
                                 int64_t length) {
  if (rope.type == "linear") return {plain_frequencies(rope.theta, head_dim) / rope.factor, 1.0};
  if (rope.type == "llama3") return {llama3_frequencies(rope, head_dim), 1.0};
  if (rope.type == "yarn") return {yarn_frequencies(rope, head_dim), yarn_amplitude(rope)};
  if (rope.type == "dynamic" && length > max_position)
    return {plain_frequencies(dynamic_base(rope, head_dim, max_position, length), head_dim), 1.0};
  return {plain_frequencies(rope.theta, head_dim), 1.0};
}

TokenLayout lay_out(const DecoderConfig& config, std::vector<int64_t> ends,
                    std::vector<int64_t> past, at::Device device) {
  TokenLayout layout{std::move(ends), std::move(past), {}, {}};
  if (layout.past.empty()) layout.past.assign(layout.ends.size(), 0);
  const int64_t tokens = layout.ends.empty() ? 0 : layout.ends.back();
  layout.cosine = at::empty({tokens, config.head_dim / 2}, at::kFloat);
  layout.sine = at::empty({tokens, config.head_dim / 2}, at::kFloat);
  for (int64_t document = 0; document < layout.documents(); ++document) {
    const int64_t past_tokens = layout.past[document], count = layout.length(document);
    const Angles angles = angles_of(
        rope_frequencies(config.rope, config.head_dim, config.max_position, past_tokens + count),
        past_tokens, count);
    layout.cosine.slice(0, layout.begin(document), layout.ends[document]).copy_(angles.cosine);
    layout.sine.slice(0, layout.begin(document), layout.ends[document]).copy_(angles.sine);
  }
  layout.cosine = layout.cosine.to(device);
  layout.sine = layout.sine.to(device);
  return layout;
}

}  // namespace isogrid
