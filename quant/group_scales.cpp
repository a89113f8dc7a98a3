#include "quant/group_scales.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"

namespace isogrid {
namespace {

constexpr double kLeastScale = 1e-8;
constexpr int64_t kTrials = 24;
constexpr double kSmallestTrial = 0.25;  // of the group's largest magnitude
constexpr int64_t kWeightsPerChunk = 1 << 18;

/// [rows, groups, group], zero beyond the last column.
at::Tensor grouped(const at::Tensor& weight, int64_t group) {
  const int64_t missing = (group - weight.size(1) % group) % group;
  return at::constant_pad_nd(weight, {0, missing}).view({weight.size(0), -1, group});
}

at::Tensor nearest_values(const at::Tensor& units, const at::Tensor& table,
                          const at::Tensor& middles) {
  const at::Tensor codes = at::bucketize(units, middles, /*out_int32=*/true);
  return at::index_select(table, 0, codes.reshape({-1})).view(units.sizes());
}

/// The best scales of some rows.
at::Tensor best_scales(const at::Tensor& groups, const at::Tensor& table, const at::Tensor& share) {
  const at::Tensor middles = (table.slice(0, 1) + table.slice(0, 0, table.size(0) - 1)) / 2;
  const at::Tensor largest = groups.abs().amax({2}, /*keepdim=*/true).clamp_min(kLeastScale);
  at::Tensor best = largest.clone(), least = at::full_like(largest, INFINITY);
  const auto keep_better = [&](const at::Tensor& scale, const at::Tensor& values) {
    const at::Tensor error = (groups - values * scale).square().mul(share).sum({2}, true);
    const at::Tensor better = error.lt(least);
    best = at::where(better, scale, best);
    least = at::where(better, error, least);
  };
  for (int64_t trial = 0; trial < kTrials; ++trial) {
    const double part = kSmallestTrial + (1.0 - kSmallestTrial) * static_cast<double>(trial) /
                                             static_cast<double>(kTrials - 1);
    const at::Tensor scale = largest * part;
    keep_better(scale, nearest_values(groups / scale, table, middles));
  }
  for (int round = 0; round < 2; ++round) {  // with the codes at hand the best scale is a quotient
    const at::Tensor values = nearest_values(groups / best, table, middles);
    const at::Tensor above = (groups * values * share).sum({2}, true);
    const at::Tensor below = (values.square() * share).sum({2}, true);
    const at::Tensor scale = at::where(below.gt(0), above / below, best).clamp_min(kLeastScale);
    keep_better(scale, nearest_values(groups / scale, table, middles));
  }
  return best.squeeze(2);
}

at::Tensor random_columns(int64_t rows, int64_t count, uint64_t seed, uint64_t side) {
  at::Tensor values = at::empty({rows, count}, at::kFloat);
  float* to = values.mutable_data_ptr<float>();
  Rng draw(seed, Purpose::scale_directions, {side});
  for (int64_t i = 0; i < values.numel(); ++i) {
    const double radius = std::sqrt(-2 * std::log(1.0 - draw.uniform_double()));
    to[i] = static_cast<float>(radius * std::cos(6.283185307179586 * draw.uniform_double()));
  }
  return values;
}

/// `count` unit columns, orthogonal to those of `there` as far as there is room.
at::Tensor orthogonal_columns(const at::Tensor& there, int64_t count, uint64_t seed,
                              uint64_t side) {
  at::Tensor fresh = random_columns(there.size(0), count, seed, side).to(there.options());
  if (there.size(1) + count <= there.size(0)) {
    for (int twice = 0; twice < 2; ++twice) fresh = fresh - at::mm(there, at::mm(there.t(), fresh));
    fresh = std::get<0>(at::linalg_qr(fresh));
  }
  return fresh / fresh.norm(2, {0}, true).clamp_min(1e-12);
}

}  // namespace

at::Tensor largest_group_scales(const at::Tensor& weight, int64_t group) {
  const at::NoGradGuard no_grad;
  return grouped(weight.detach().to(at::kFloat), group).abs().amax({2}).clamp_min(kLeastScale);
}

at::Tensor best_group_scales(const at::Tensor& weight, int64_t group, const at::Tensor& table,
                             const at::Tensor& importance) {
  const at::NoGradGuard no_grad;
  const at::Tensor values = table.to(weight.device(), at::kFloat);
  const at::Tensor share =
      importance.defined() ? grouped(importance.to(weight.device(), at::kFloat).unsqueeze(0), group)
                           : at::full({1, 1, 1}, 1.0, weight.options().dtype(at::kFloat));
  std::vector<at::Tensor> parts;
  const int64_t rows = std::max<int64_t>(1, kWeightsPerChunk / weight.size(1));
  for (int64_t first = 0; first < weight.size(0); first += rows)
    parts.push_back(
        best_scales(grouped(weight.detach().slice(0, first, first + rows).to(at::kFloat), group),
                    values, share));
  return at::cat(parts);
}

ScaleDirections scale_directions(const at::Tensor& group_scales, int64_t group, int64_t columns,
                                 int64_t rank, double floor, uint64_t seed) {
  const at::NoGradGuard no_grad;
  // A group's columns are equal, so the singular vectors of the spread matrix are those of the
  // small one with every group weighted by the root of its length.
  const int64_t groups = group_scales.size(1);
  at::Tensor lengths = at::full({groups}, static_cast<double>(group), group_scales.options());
  lengths[-1] = static_cast<double>(columns - (groups - 1) * group);
  const at::Tensor roots = lengths.sqrt();
  const auto [u, s, v] = at::linalg_svd(group_scales * roots, /*full_matrices=*/false);
  const int64_t kept = std::min(rank, s.size(0));
  const at::Tensor spread =
      (v.slice(0, 0, kept) / roots).repeat_interleave(group, 1).slice(1, 0, columns);
  ScaleDirections directions{u.slice(1, 0, kept).contiguous(), spread.contiguous(),
                             s.slice(0, 0, kept).contiguous()};
  const double least = floor * s[0].item<double>();
  directions.g.clamp_min_(least);
  return widened_directions(directions, rank - kept, least, seed);
}

ScaleDirections directions_of_product(const at::Tensor& left, const at::Tensor& right) {
  const at::NoGradGuard no_grad;
  const auto [q, r] = at::linalg_qr(left.to(at::kDouble));
  const auto [p, t] = at::linalg_qr(right.to(at::kDouble).t());
  const auto [u, s, v] = at::linalg_svd(at::mm(r, t.t()), /*full_matrices=*/false);
  const auto type = left.scalar_type();
  return {at::mm(q, u).to(type), at::mm(v, p.t()).to(type), s.to(type)};
}

ScaleDirections widened_directions(const ScaleDirections& directions, int64_t count, double size,
                                   uint64_t seed) {
  if (count <= 0) return directions;
  const at::NoGradGuard no_grad;
  const at::Tensor a = orthogonal_columns(directions.a, count, seed, 0);
  const at::Tensor b = orthogonal_columns(directions.b.t(), count, seed, 1).t();
  return {at::cat({directions.a, a}, 1), at::cat({directions.b, b}, 0),
          at::cat({directions.g, at::full({count}, size, directions.g.options())})};
}

}  // namespace isogrid
