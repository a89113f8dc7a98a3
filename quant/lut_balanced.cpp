#include "quant/lut_balanced.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "quant/lut_table.h"
#include "quant/row_chunks.h"

namespace isogrid {
namespace {

constexpr double kCentre = 0.5;
constexpr size_t kSampled = 65536;

int64_t lowest_code(int bits) { return 1 - (int64_t{1} << (bits - 1)); }
int64_t highest_code(int bits) { return int64_t{1} << (bits - 1); }

at::ScalarType wide_type(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

/// Whole numbers before they are clamped to the codes.
at::Tensor rounded_codes(const at::Tensor& weight, const at::Tensor& scale) {
  return weight.div(scale).add_(kCentre).round_();
}

/// Mean squared error of rounding `sizes` (absolute values) with this clip.
double rounding_error(const std::vector<double>& sizes, double clip, int bits) {
  const double scale = clip / static_cast<double>(highest_code(bits));
  const auto low = static_cast<double>(lowest_code(bits));
  const auto high = static_cast<double>(highest_code(bits));
  double sum = 0;
  for (const double size : sizes) {
    const double code = std::clamp(std::nearbyint(size / scale + kCentre), low, high);
    const double error = (code - kCentre) * scale - size;
    sum += error * error;
  }
  return sum / static_cast<double>(sizes.size());
}

std::vector<double> sorted_sizes(const at::Tensor& weight, bool sampled, uint64_t seed) {
  const at::Tensor flat = weight.detach().to(at::kCPU, at::kFloat).reshape({-1}).contiguous();
  const float* value = flat.const_data_ptr<float>();
  const auto count = static_cast<size_t>(flat.numel());
  std::vector<double> sizes;
  if (!sampled || count <= kSampled) {
    for (size_t i = 0; i < count; ++i) sizes.push_back(std::abs(double{value[i]}));
  } else {
    Rng draw(seed, Purpose::clip_sample);
    for (size_t i = 0; i < kSampled; ++i) {
      const auto at = static_cast<size_t>(draw.uniform_double() * static_cast<double>(count));
      sizes.push_back(std::abs(double{value[at]}));
    }
  }
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

double size_at(const std::vector<double>& sorted, double percentile) {
  const auto rank = static_cast<size_t>(percentile / 100.0 * static_cast<double>(sorted.size()));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

double newton_clip(const std::vector<double>& sizes, double largest, int bits) {
  double clip = std::max(1e-6, size_at(sizes, 99.5));
  for (int step = 0; step < 4; ++step) {
    const double gap = std::max(1e-6, 0.01 * clip);
    const double below = rounding_error(sizes, clip - gap, bits);
    const double here = rounding_error(sizes, clip, bits);
    const double above = rounding_error(sizes, clip + gap, bits);
    const double slope = (above - below) / (2 * gap);
    const double curvature = (above - 2 * here + below) / (gap * gap);
    // Where the error bends the other way a Newton step would climb.
    const double change = curvature < 1e-12 ? 0.1 * clip * (slope > 0 ? 1 : -1) : slope / curvature;
    clip = std::clamp(clip - change, 1e-6, std::max(1e-6, largest));
  }
  return clip;
}

double best_percentile_clip(const std::vector<double>& sizes, int bits) {
  double best = 0, least = INFINITY;
  for (const double percentile : {99.0, 99.3, 99.5, 99.7, 99.9, 100.0}) {
    const double clip = std::max(1e-6, size_at(sizes, percentile));
    const double error = rounding_error(sizes, clip, bits);
    if (error < least) {
      least = error;
      best = clip;
    }
  }
  return best;
}

}  // namespace

BalancedWeight::BalancedWeight(at::Tensor latent, at::Tensor raw_clip, int bits, bool half)
    : latent_(std::move(latent)), raw_clip_(std::move(raw_clip)), bits_(bits), half_(half) {
  if (bits != 2 && bits != 4)
    fail(ExitCode::configuration, "balanced levels of ", bits, " bits: 2 and 4 are possible");
}

at::Tensor BalancedWeight::largest(at::ScalarType type) const {
  return latent_.detach().abs().max().to(type).clamp_min(1e-8);
}

at::Tensor BalancedWeight::scale_of(at::ScalarType type) const {
  const at::Tensor raw = raw_clip_.detach().reshape({}).to(latent_.device(), type);
  const at::Tensor clip = at::softplus(raw) + 1e-8;
  const at::Tensor scale = clip * largest(type) / static_cast<double>(highest_code(bits_));
  return half_ ? as_half(scale) : scale;
}

double BalancedWeight::scale() const {
  const at::NoGradGuard no_grad;
  return scale_of(wide_type(latent_.scalar_type())).to(at::kDouble).item<double>();
}

at::Tensor BalancedWeight::codes() const {
  const at::NoGradGuard no_grad;
  const auto type = wide_type(latent_.scalar_type());
  return rounded_codes(latent_.detach().to(type), scale_of(type))
      .clamp_(lowest_code(bits_), highest_code(bits_))
      .sub_(lowest_code(bits_))
      .to(at::kByte);
}

void BalancedWeight::materialise(at::Tensor& out, int64_t first, int64_t last,
                                 const LowRank* delta) const {
  const at::NoGradGuard no_grad;
  if (delta != nullptr)
    fail(ExitCode::internal, "balanced levels are not rounded together with an adapter");
  const auto type = wide_type(out.scalar_type());
  const at::Tensor scale = scale_of(type);
  for_row_chunks(last - first, inputs(), [&](int64_t from, int64_t until) {
    const at::NoGradGuard inner;
    const at::Tensor weight = latent_.detach().slice(0, first + from, first + until).to(type);
    out.slice(0, from, until)
        .copy_(rounded_codes(weight, scale)
                   .clamp_(lowest_code(bits_), highest_code(bits_))
                   .sub_(kCentre)
                   .mul_(scale));
  });
}

at::Tensor BalancedWeight::rows(const at::Tensor& ids, at::ScalarType compute) const {
  const at::NoGradGuard no_grad;
  const auto type = wide_type(compute);
  const at::Tensor scale = scale_of(type);
  return rounded_codes(at::index_select(latent_.detach(), 0, ids).to(type), scale)
      .clamp_(lowest_code(bits_), highest_code(bits_))
      .sub_(kCentre)
      .mul_(scale)
      .to(compute);
}

void BalancedWeight::accumulate(const at::Tensor& d_weight) {
  const at::NoGradGuard no_grad;
  const auto type = wide_type(d_weight.scalar_type());
  const at::Tensor scale = scale_of(type), d = d_weight.to(type);
  const at::Tensor units = latent_.detach().to(type).div(scale);
  const at::Tensor codes = units.add(kCentre).round_();
  const at::Tensor clamped = codes.clamp(lowest_code(bits_), highest_code(bits_));
  const at::Tensor inside = codes.eq(clamped);
  if (latent_.requires_grad()) add_gradient(latent_, d * inside);
  if (!raw_clip_.requires_grad()) return;
  const at::Tensor d_scale = (d * (clamped - kCentre - units * inside)).sum();
  const at::Tensor d_clip = d_scale * largest(type) / static_cast<double>(highest_code(bits_));
  const at::Tensor raw = raw_clip_.detach().to(latent_.device(), type);
  add_gradient(raw_clip_, (d_clip * at::sigmoid(raw)).to(raw_clip_.device()));
}

void BalancedWeight::accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) {
  const at::NoGradGuard no_grad;
  at::Tensor whole = at::zeros({outputs(), inputs()}, d_rows.options());
  whole.index_add_(0, ids, d_rows);
  accumulate(whole);
}

void BalancedWeight::visit(const std::string& prefix, Role role, const TensorVisitor& visitor) {
  TensorSlot latent{prefix + ".weight", &latent_, role};
  TensorSlot clip{prefix + ".raw_clip", &raw_clip_, Role::factor};
  latent.in_master = clip.in_master = true;
  visitor(latent);
  visitor(clip);
}

void BalancedWeight::to(at::Device device) {
  for (at::Tensor* tensor : {&latent_, &raw_clip_}) {
    const bool trained = tensor->requires_grad();
    *tensor = tensor->detach().to(device);
    tensor->requires_grad_(trained);
  }
}

double starting_clip(const at::Tensor& weight, int bits, ClipStart start, uint64_t seed,
                     double percentile) {
  const double largest = weight.detach().abs().max().to(at::kDouble).item<double>();
  if (largest == 0) return 1.0;
  const std::vector<double> sizes = sorted_sizes(weight, start == ClipStart::newton, seed);
  double clip = largest;
  if (start == ClipStart::newton) clip = newton_clip(sizes, largest, bits);
  if (start == ClipStart::percentile) clip = size_at(sizes, percentile);
  if (start == ClipStart::grid) clip = best_percentile_clip(sizes, bits);
  return std::clamp(clip / largest, 1e-4, 1.0);
}

double raw_of_clip(double clip) { return std::log(std::expm1(clip)); }

}  // namespace isogrid
