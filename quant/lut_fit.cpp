#include "quant/lut_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "quant/lut_table.h"
#include "quant/lut_v2.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

constexpr double kRidge = 1e-4;  // of the mean diagonal: towards what is there
constexpr double kLeastGain = 1e-3;
constexpr int64_t kRowsPerSolve = 256;

/// A fit in progress: codes as bytes, everything in float32.
struct LutFit {
  at::Tensor weight, share;  // share [1, columns]
  at::Tensor codes, table, left, right;

  at::Tensor scales() const { return at::mm(left, right); }
  at::Tensor values() const {
    return at::index_select(table, 0, codes.reshape({-1}).to(at::kInt)).view(codes.sizes());
  }
  double error() const {
    return (weight - values() * scales()).square().mul(share).sum().to(at::kDouble).item<double>();
  }
};

void take_nearest_codes(LutFit& fit) {
  for (int64_t first = 0; first < fit.weight.size(0); first += kRowsPerSolve) {
    const int64_t last = std::min(fit.weight.size(0), first + kRowsPerSolve);
    const at::Tensor scales = at::mm(fit.left.slice(0, first, last), fit.right);
    fit.codes.slice(0, first, last)
        .copy_(nearest_codes(fit.weight.slice(0, first, last), scales, fit.table));
  }
}

/// Every row x of `left` with least sum_c pull[c] * (wanted[c] / value[c] - x right[:, c])^2, where
/// `pull` = share * value^2 and `push` = share * value * wanted.
at::Tensor solved_rows(const at::Tensor& left, const at::Tensor& right, const at::Tensor& pull,
                       const at::Tensor& push) {
  const int64_t rank = right.size(0);
  // All outer products of the columns of `right`, so that the normal matrices are one product.
  const at::Tensor outer =
      (right.unsqueeze(0) * right.unsqueeze(1)).reshape({rank * rank, -1}).t().contiguous();
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < left.size(0); first += kRowsPerSolve) {
    const int64_t last = std::min(left.size(0), first + kRowsPerSolve);
    at::Tensor normal =
        at::mm(pull.slice(0, first, last), outer).view({-1, rank, rank}).to(at::kDouble);
    const at::Tensor before = left.slice(0, first, last).to(at::kDouble);
    at::Tensor side = at::mm(push.slice(0, first, last), right.t()).to(at::kDouble);
    const at::Tensor ridge =
        normal.diagonal(0, 1, 2).mean(1, true).mul(kRidge).add(1e-30).unsqueeze(2);
    normal = normal + ridge * at::eye(rank, normal.options());
    side = side + ridge.squeeze(2) * before;
    parts.push_back(at::linalg_solve(normal, side.unsqueeze(2)).squeeze(2).to(at::kFloat));
  }
  return at::cat(parts);
}

/// Brings the outermost value to 1 in size; what it loses the scales gain.
void normalise_table(LutFit& fit) {
  const at::Tensor top = fit.table.abs().max();
  fit.table = fit.table / top;
  fit.left = fit.left * top;
}

void solve_table(LutFit& fit, TableFit how) {
  if (how == TableFit::fixed) return;
  const int64_t count = fit.table.size(0);
  const at::Tensor scales = fit.scales(), codes = fit.codes.reshape({-1}).to(at::kLong);
  const auto sums = [&](const at::Tensor& terms) {
    return at::zeros({count}, fit.table.options()).scatter_add_(0, codes, terms.reshape({-1}));
  };
  at::Tensor above = sums(fit.weight * scales * fit.share);
  at::Tensor below = sums(scales.square() * fit.share);
  if (how == TableFit::symmetric) {
    above = above - above.flip({0});
    below = below + below.flip({0});
  }
  const at::Tensor solved = at::where(below.gt(0), above / below, fit.table);
  fit.table = std::get<0>(solved.sort());
  normalise_table(fit);
}

void solve_scales(LutFit& fit) {
  at::Tensor values = fit.values();
  fit.left = solved_rows(fit.left, fit.right, values.square() * fit.share,
                         values * fit.weight * fit.share);
  take_nearest_codes(fit);
  // A column's importance weighs all of its terms alike.
  values = fit.values();
  fit.right = solved_rows(fit.right.t().contiguous(), fit.left.t().contiguous(),
                          values.square().t().contiguous(), (values * fit.weight).t().contiguous())
                  .t()
                  .contiguous();
  take_nearest_codes(fit);
}

LutFactors factors_of(const LutFit& fit, int bits) {
  LutFactors factors;
  factors.codes = pack_codes(fit.codes, bits);
  factors.bits = bits;
  factors.table = fit.table;
  factors.left = fit.left;
  factors.right = fit.right;
  return factors;
}

/// Values at even shares of the total weight.
at::Tensor quantiles(const at::Tensor& units, const at::Tensor& share, int64_t count) {
  const auto [sorted, order] = units.sort();
  const at::Tensor passed = share.index_select(0, order).to(at::kDouble).cumsum(0);
  at::Tensor values = at::zeros({count}, units.options());
  for (int64_t i = 0; i < count; ++i) {
    const double wanted = (static_cast<double>(i) + 0.5) / static_cast<double>(count);
    const at::Tensor at = at::bucketize(passed[-1] * wanted, passed);
    values[i] = sorted[std::min(at.item<int64_t>(), sorted.size(0) - 1)];
  }
  return values;
}

}  // namespace

LutFactors fitted_factors(const at::Tensor& weight, const LutFactors& start,
                          const LutFitOptions& options) {
  const at::NoGradGuard no_grad;
  LutFit fit;
  fit.weight = weight.detach().to(at::kFloat);
  fit.share = options.importance.defined()
                  ? options.importance.to(weight.device(), at::kFloat).unsqueeze(0)
                  : at::ones({1, weight.size(1)}, fit.weight.options());
  fit.table = start.table.to(weight.device(), at::kFloat).clone();
  fit.left = start.left.to(weight.device(), at::kFloat).clone();
  fit.right = start.right.to(weight.device(), at::kFloat).clone();
  normalise_table(fit);
  fit.codes = at::zeros(fit.weight.sizes(), fit.weight.options().dtype(at::kByte));
  take_nearest_codes(fit);
  LutFit best = fit;
  best.codes = fit.codes.clone();
  double least = fit.error();
  for (int sweep = 0; sweep < options.sweeps; ++sweep) {
    solve_table(fit, options.table);
    take_nearest_codes(fit);
    solve_scales(fit);
    const double error = fit.error();
    if (!(error < least)) break;
    const bool settled = error > least * (1 - kLeastGain);
    least = error;
    best = fit;
    best.codes = fit.codes.clone();
    if (settled) break;
  }
  return factors_of(best, start.bits);
}

at::Tensor fitted_table(const at::Tensor& units, const at::Tensor& share, int64_t count,
                        TableFit fit) {
  const at::NoGradGuard no_grad;
  const bool symmetric = fit == TableFit::symmetric;
  at::Tensor x = units.reshape({-1}).to(at::kFloat), w = share.reshape({-1}).to(at::kFloat);
  if (symmetric) x = x.abs();
  const int64_t levels = symmetric ? count / 2 : count;
  // Where many values lie a table has them closer, by the cube root of their density.
  at::Tensor values = quantiles(x, w.pow(1.0 / 3), levels);
  for (int round = 0; round < 40; ++round) {
    const at::Tensor middles = (values.slice(0, 1) + values.slice(0, 0, levels - 1)) / 2;
    const at::Tensor codes = at::bucketize(x, middles).to(at::kLong);
    const auto sums = [&](const at::Tensor& terms) {
      return at::zeros({levels}, x.options()).scatter_add_(0, codes, terms);
    };
    const at::Tensor below = sums(w);
    const at::Tensor moved = at::where(below.gt(0), sums(w * x) / below, values);
    const double change = (moved - values).abs().max().item<double>();
    values = std::get<0>(moved.sort());
    if (change < 1e-6) break;
  }
  if (symmetric) values = at::cat({-values.flip({0}), values});
  return values;
}

double weighted_error(const at::Tensor& a, const at::Tensor& b, const at::Tensor& importance) {
  const at::NoGradGuard no_grad;
  const at::Tensor share = importance.defined() ? importance.to(b.device(), at::kDouble)
                                                : at::ones({1}, b.options().dtype(at::kDouble));
  const at::Tensor wide = b.to(at::kDouble);
  const double whole = (wide.square() * share).sum().item<double>();
  const double gap = ((a.to(at::kDouble) - wide).square() * share).sum().item<double>();
  return gap == 0 ? 0 : gap / whole;
}

}  // namespace isogrid
