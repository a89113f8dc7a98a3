#include "quant/lut_convert.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "quant/group_scales.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

constexpr double kLeastNorm = 1e-6;
constexpr double kNewRankShare = 1e-3;  // of the largest magnitude, before the fit

at::Tensor float_weight(const WeightSource& source, at::Device device) {
  return whole_weight(source, at::kFloat, device);
}

/// With exactly `rank` directions: the largest ones, or more of little weight.
ScaleDirections of_rank(const ScaleDirections& directions, int64_t rank, uint64_t seed) {
  const int64_t there = directions.g.size(0), kept = std::min(rank, there);
  const ScaleDirections largest{directions.a.slice(1, 0, kept), directions.b.slice(0, 0, kept),
                                directions.g.slice(0, 0, kept)};
  const double size = kNewRankShare * directions.g.abs().max().item<double>();
  return widened_directions(largest, rank - kept, size, seed);
}

}  // namespace

LutV2Parts v2_of_v1(const std::string& name, const LutV1Weight& v1, bool half) {
  const at::NoGradGuard no_grad;
  const LutV1Parts& from = v1.parts();
  const at::Tensor a = from.a.detach().to(at::kFloat), b = from.b.detach().to(at::kFloat);
  const at::Tensor a_norm = a.norm(2, {0}, true).clamp_min(kLeastNorm);
  const at::Tensor b_norm = b.norm(2, {1}, true).clamp_min(kLeastNorm);
  LutV2Parts parts;
  parts.table.values = table_values(from.table, at::kFloat, half);
  parts.a = a / a_norm;
  parts.b = b / b_norm;
  parts.g = a_norm.reshape({-1}) * b_norm.reshape({-1});
  parts.codes =
      at::zeros({v1.outputs(), packed_bytes(v1.inputs(), v1.bits())}, a.options().dtype(at::kByte));
  LutV2Weight v2(name, std::move(parts), {.half = half});
  v2.take_codes_of(float_weight(v1, a.device()));
  return v2.parts();
}

LutV2Parts narrowed(const std::string& name, const LutV2Weight& from, const at::Tensor& wanted,
                    const LutNarrowing& to) {
  const at::NoGradGuard no_grad;
  const int64_t most = std::min(from.outputs(), from.inputs());
  if (to.rank < 1 || to.rank > most)
    fail(ExitCode::configuration, "lut rank: ", to.rank, ": ", name, " allows ranks from 1 to ",
         most);
  const LutFactors before = from.factors(at::kFloat);
  const at::Tensor scales = at::mm(before.left, before.right);
  LutFactors start = before;
  start.bits = to.bits;
  const int64_t count = int64_t{1} << to.bits;
  if (count != before.table.size(0)) {
    at::Tensor share = scales.square();
    if (to.importance.defined()) share = share * to.importance.to(share.options());
    const at::Tensor units = wanted.to(at::kFloat) / scales.masked_fill(scales.eq(0), 1);
    const double top = before.table.abs().max().item<double>();
    start.table =
        fitted_table(units.clamp(-1.5 * top, 1.5 * top), share, count, TableFit::symmetric);
  }
  const ScaleDirections directions =
      of_rank(directions_of_product(before.left, before.right), to.rank, to.seed);
  start.left = directions.a * directions.g;
  start.right = directions.b;
  LutFitOptions fit;
  fit.importance = to.importance;
  fit.table = is_symmetric(start.table) ? TableFit::symmetric : TableFit::free;
  return coded_parts(name, wanted, fitted_factors(wanted, start, fit), to.half);
}

at::Tensor four_of_sixteen(const at::Tensor& values) {
  const at::NoGradGuard no_grad;
  const at::Tensor sorted = std::get<0>(values.detach().to(at::kCPU, at::kDouble).sort());
  std::vector<double> centres;
  for (const double share : {0.2, 0.4, 0.6, 0.8})
    centres.push_back(sorted[static_cast<int64_t>(share * static_cast<double>(sorted.size(0) - 1))]
                          .item<double>());
  for (int round = 0; round < 20; ++round) {
    std::vector<double> sums(4, 0.0), counts(4, 0.0);
    for (int64_t i = 0; i < sorted.size(0); ++i) {
      const double value = sorted[i].item<double>();
      size_t nearest = 0;
      for (size_t j = 1; j < 4; ++j)
        if (std::abs(value - centres[j]) < std::abs(value - centres[nearest])) nearest = j;
      sums[nearest] += value;
      counts[nearest] += 1;
    }
    for (size_t j = 0; j < 4; ++j)
      if (counts[j] > 0) centres[j] = sums[j] / counts[j];
  }
  return at::tensor(centres, at::kDouble).to(values.scalar_type());
}

LutV2Parts widened(const LutV2Parts& parts, int64_t rank, double size, uint64_t seed) {
  const ScaleDirections wide =
      widened_directions({parts.a, parts.b, parts.g}, rank - parts.g.size(0), size, seed);
  LutV2Parts result = parts;
  result.a = wide.a;
  result.b = wide.b;
  result.g = wide.g;
  return result;
}

}  // namespace isogrid
