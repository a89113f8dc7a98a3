#include "quant/lut_start.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/error.h"
#include "quant/group_scales.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

constexpr double kCompatibleFloor = 0.01;  // least magnitude over the largest, as max_abs has it
constexpr double kFloor = 1e-4;

void check_rank(const std::string& name, const at::Tensor& weight, int64_t rank) {
  const int64_t most = std::min(weight.size(0), weight.size(1));
  if (rank < 1 || rank > most)
    fail(ExitCode::configuration, "lut rank: ", rank, ": ", name, " is of shape ", weight.size(0),
         " x ", weight.size(1), ", so ranks from 1 to ", most, " are possible");
}

ScaleDirections directions_of(const at::Tensor& weight, const at::Tensor& scales, double floor,
                              const LutStartOptions& options) {
  return scale_directions(scales, options.group, weight.size(1), options.rank, floor, options.seed);
}

double error_under(const ScaleDirections& directions, const at::Tensor& weight,
                   const at::Tensor& table, const at::Tensor& importance) {
  const at::Tensor scales = at::mm(directions.a * directions.g, directions.b);
  const at::Tensor wide = weight.detach().to(at::kFloat);
  const at::Tensor codes = nearest_codes(wide, scales, table);
  const at::Tensor values =
      at::index_select(table, 0, codes.reshape({-1}).to(at::kInt)).view(codes.sizes());
  return weighted_error(values * scales, wide, importance);
}

ScaleDirections starting_directions(const at::Tensor& weight, const at::Tensor& table,
                                    const LutStartOptions& options) {
  const at::Tensor largest = largest_group_scales(weight, options.group);
  if (options.start == LutStart::max_abs) {
    ScaleDirections directions = directions_of(weight, largest, kCompatibleFloor, options);
    directions.g.clamp_min_(kCompatibleFloor);
    return directions;
  }
  // Cut to a low rank, scales that clip little may serve better than those that err least.
  const at::Tensor best = best_group_scales(weight, options.group, table, options.importance);
  const ScaleDirections tight = directions_of(weight, best, kFloor, options);
  const ScaleDirections wide = directions_of(weight, largest, kFloor, options);
  return error_under(tight, weight, table, options.importance) <=
                 error_under(wide, weight, table, options.importance)
             ? tight
             : wide;
}

}  // namespace

std::span<const LutPreset> lut_presets() {
  static constexpr LutPreset table[] = {
      {"q2a4", 2, 32, 4, 8},      {"q4a4", 4, 4, 4, 4},     {"q4a4_r32", 4, 32, 4, 32},
      {"q4_r32", 4, 32, 4, 32},   {"q4_r64", 4, 64, 4, 64}, {"q2a2", 2, 32, 2, 32},
      {"q2a4_r64", 2, 64, 4, 16},
  };
  return table;
}

const LutPreset& lut_preset(const std::string& name) {
  std::string known;
  for (const LutPreset& preset : lut_presets()) {
    if (preset.name == name) return preset;
    known += concat(known.empty() ? "" : ", ", preset.name);
  }
  fail(ExitCode::configuration, "lut_preset: ", name, ": allowed are ", known);
}

LutStart lut_start(const std::string& name) {
  if (name == "max_abs") return LutStart::max_abs;
  if (name == "mse") return LutStart::mse;
  if (name == "als") return LutStart::als;
  if (name == "kmeans") return LutStart::kmeans;
  fail(ExitCode::configuration, "lut_init: ", name, ": allowed are max_abs, mse, als, kmeans");
}

LutV2Parts coded_parts(const std::string& name, const at::Tensor& weight, const LutFactors& factors,
                       bool half) {
  const at::NoGradGuard no_grad;
  const ScaleDirections directions = directions_of_product(factors.left, factors.right);
  LutV2Parts parts;
  parts.codes = at::zeros({weight.size(0), packed_bytes(weight.size(1), factors.bits)},
                          weight.options().dtype(at::kByte));
  parts.table.values = repaired_table(factors.table);
  parts.a = directions.a;
  parts.b = directions.b;
  parts.g = as_half(directions.g);
  LutV2Weight coded(name, parts, {.half = half});
  coded.take_codes_of(weight);
  return coded.parts();
}

LutV2Parts start_lut_v2(const std::string& name, const at::Tensor& weight,
                        const LutStartOptions& options) {
  const at::NoGradGuard no_grad;
  check_rank(name, weight, options.rank);
  LutFactors factors;
  factors.bits = options.bits;
  factors.table = uniform_table(options.bits).to(weight.device());
  const ScaleDirections start = starting_directions(weight, factors.table, options);
  factors.left = start.a * start.g;
  factors.right = start.b;
  LutFitOptions fit;
  fit.importance = options.importance;
  if (options.start == LutStart::als || options.start == LutStart::kmeans)
    factors = fitted_factors(weight, factors, fit);
  if (options.start == LutStart::kmeans) {
    fit.table = TableFit::symmetric;
    factors = fitted_factors(weight, factors, fit);
  }
  return coded_parts(name, weight, factors, options.half);
}

LutV1Parts start_lut_v1(const std::string& name, const at::Tensor& weight,
                        const LutStartOptions& options) {
  const at::NoGradGuard no_grad;
  check_rank(name, weight, options.rank);
  LutV1Parts parts;
  parts.table.values = uniform_table(options.bits).to(weight.device());
  const at::Tensor scales =
      options.start == LutStart::max_abs
          ? largest_group_scales(weight, options.group)
          : best_group_scales(weight, options.group, parts.table.values, options.importance);
  const ScaleDirections start =
      scale_directions(scales, options.group, weight.size(1), options.rank, 0.0, options.seed);
  parts.latent = weight.detach().to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  parts.a = start.a * start.g;
  parts.b = start.b;
  return parts;
}

}  // namespace isogrid
