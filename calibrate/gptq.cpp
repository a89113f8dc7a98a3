#include "calibrate/gptq.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/error.h"

namespace isogrid {
namespace {

constexpr int64_t kBlock = 128;          // columns whose errors are spread at once
constexpr double kDampingStep = 0.0025;  // added until the moments can be inverted
constexpr double kMostDamping = 10.0;

/// The upper factor C of the inverse of the damped moments, C^T C = (H + damping I)^-1.
struct InverseFactor {
  at::Tensor upper;  // float32 [in, in]
  double damping;    // of the mean of the diagonal
};

InverseFactor inverse_factor(const std::string& name, const at::Tensor& moment, double damping) {
  const at::Tensor diagonal = moment.diagonal();
  const double mean = diagonal.mean().item<double>();
  for (; damping < kMostDamping; damping += kDampingStep) {
    at::Tensor damped = moment.clone();
    damped.diagonal().add_(damping * mean);
    const auto [lower, failed] = at::linalg_cholesky_ex(damped);
    if (failed.item<int>() != 0) continue;
    const auto [upper, also_failed] =
        at::linalg_cholesky_ex(at::cholesky_inverse(lower), /*upper=*/true);
    if (also_failed.item<int>() != 0) continue;
    return {upper.to(at::kFloat).contiguous(), damping};
  }
  fail(ExitCode::numeric, name, ": its inputs on the calibration rows have no usable moments");
}

/// One weight on its way, columns in the order of work.
struct Solution {
  at::Tensor weight;  // float32 [out, in]: what is still free, then its error-compensated value
  at::Tensor upper;   // float32 [in, in]
  at::Tensor errors;  // float32 [out, kBlock] of the columns at work, each over its pivot
  at::Tensor codes;   // uint8 [out, in], columns as they are stored
  at::Tensor scales, zeros;
  std::vector<int64_t> column;  // place in the work -> stored column
  std::vector<int32_t> group;   // of each place
};

/// Rounds columns [first, last) of one row; returns the squared error over the pivots.
double round_row(Solution& solution, const GptqOptions& options, int64_t row, int64_t first,
                 int64_t last) {
  const int64_t inputs = solution.weight.size(1), groups = solution.scales.size(1);
  float* weight = solution.weight.mutable_data_ptr<float>() + row * inputs;
  float* error = solution.errors.mutable_data_ptr<float>() + row * kBlock;
  uint8_t* code = solution.codes.mutable_data_ptr<uint8_t>() + row * inputs;
  float* scale = solution.scales.mutable_data_ptr<float>() + row * groups;
  uint8_t* zero = solution.zeros.mutable_data_ptr<uint8_t>() + row * groups;
  const int top = options.rule.top();
  const int64_t width = options.rule.width(inputs);
  double squares = 0;
  for (int64_t place = first; place < last; ++place) {
    const int32_t group = solution.group[place];
    if (options.order != ColumnOrder::important && place % width == 0) {
      const GroupGrid fitted =
          fitted_grid(weight + place, std::min(width, inputs - place), options.rule);
      scale[group] = fitted.scale;
      zero[group] = static_cast<uint8_t>(fitted.zero);
    }
    const GroupGrid grid{scale[group], zero[group]};
    const int chosen = grid.code(weight[place], top);
    code[solution.column[place]] = static_cast<uint8_t>(chosen);
    const float* upper = solution.upper.const_data_ptr<float>() + place * inputs;
    const float share = (weight[place] - grid.value(chosen)) / upper[place];
    error[place - first] = share;
    squares += static_cast<double>(share) * share;
    for (int64_t later = place + 1; later < last; ++later) weight[later] -= share * upper[later];
  }
  return squares;
}

double solve(Solution& solution, const GptqOptions& options) {
  const int64_t outputs = solution.weight.size(0), inputs = solution.weight.size(1);
  at::Tensor squares = at::zeros({outputs}, at::kDouble);
  auto* sum = squares.mutable_data_ptr<double>();
  for (int64_t first = 0; first < inputs; first += kBlock) {
    const int64_t last = std::min(inputs, first + kBlock);
    at::parallel_for(0, outputs, 8, [&](int64_t from, int64_t until) {
      for (int64_t row = from; row < until; ++row)
        sum[row] += round_row(solution, options, row, first, last);
    });
    if (last == inputs) break;
    at::Tensor rest = solution.weight.slice(1, last, inputs);
    rest.addmm_(solution.errors.slice(1, 0, last - first),
                solution.upper.slice(0, first, last).slice(1, last, inputs), 1, -1);
  }
  return squares.sum().item<double>();
}

void fit_all_groups(Solution& solution, const at::Tensor& weight, const GroupRule& rule) {
  const int64_t inputs = weight.size(1), groups = rule.groups(inputs), width = rule.width(inputs);
  for (int64_t row = 0; row < weight.size(0); ++row)
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = group * width;
      const GroupGrid grid = fitted_grid(weight.const_data_ptr<float>() + row * inputs + first,
                                         std::min(width, inputs - first), rule);
      solution.scales.mutable_data_ptr<float>()[row * groups + group] = grid.scale;
      solution.zeros.mutable_data_ptr<uint8_t>()[row * groups + group] =
          static_cast<uint8_t>(grid.zero);
    }
}

void check_rule(const GroupRule& rule) {
  const bool bits = rule.bits == 2 || rule.bits == 3 || rule.bits == 4 || rule.bits == 8;
  const int64_t group = rule.group_size;
  if (!bits || (group != -1 && (group < 1 || (kBlock % group != 0 && group % kBlock != 0))))
    fail(ExitCode::internal, "GPTQ knows no ", rule.bits, " bits in groups of ", group);
}

/// The stored columns in the order of work.
std::vector<int64_t> order_of_work(const at::Tensor& moment, ColumnOrder order) {
  const int64_t inputs = moment.size(0);
  at::Tensor places = at::arange(inputs, at::kLong);
  if (order != ColumnOrder::stored)
    places = at::argsort(moment.diagonal(), /*stable=*/true, 0, /*descending=*/true).contiguous();
  const auto* from = places.const_data_ptr<int64_t>();
  return {from, from + inputs};
}

Solution opened_solution(const at::Tensor& weight, const GptqOptions& options,
                         std::vector<int64_t> columns) {
  const int64_t outputs = weight.size(0), inputs = weight.size(1);
  const int64_t width = options.rule.width(inputs);
  Solution solution;
  solution.errors = at::empty({outputs, kBlock}, at::kFloat);
  solution.codes = at::empty({outputs, inputs}, at::kByte);
  solution.scales = at::empty({outputs, options.rule.groups(inputs)}, at::kFloat);
  solution.zeros = at::empty({outputs, options.rule.groups(inputs)}, at::kByte);
  solution.column = std::move(columns);
  for (int64_t place = 0; place < inputs; ++place) {
    const int64_t at = options.order == ColumnOrder::important ? solution.column[place] : place;
    solution.group.push_back(static_cast<int32_t>(at / width));
  }
  if (options.order == ColumnOrder::important) fit_all_groups(solution, weight, options.rule);
  return solution;
}

at::Tensor as_places(const std::vector<int64_t>& columns) {
  at::Tensor places = at::empty({static_cast<int64_t>(columns.size())}, at::kLong);
  std::copy(columns.begin(), columns.end(), places.mutable_data_ptr<int64_t>());
  return places;
}

}  // namespace

GptqResult quantise_gptq(const std::string& name, const at::Tensor& weight,
                         const at::Tensor& moment, const GptqOptions& options) {
  const at::NoGradGuard no_grad;
  check_rule(options.rule);
  check_range(name, weight, options.rule);
  at::Tensor wide = weight.to(at::kFloat).clone(at::MemoryFormat::Contiguous);
  at::Tensor exact = moment.to(at::kDouble).clone(at::MemoryFormat::Contiguous);
  // An input that never spoke: nothing is known of its column, and nothing depends on it.
  const at::Tensor silent = exact.diagonal().eq(0);
  wide.masked_fill_(silent.unsqueeze(0), 0);
  exact.diagonal().masked_fill_(silent, 1);

  Solution solution = opened_solution(wide, options, order_of_work(exact, options.order));
  const at::Tensor places = as_places(solution.column);
  const bool moved = options.order != ColumnOrder::stored;
  if (moved) exact = exact.index_select(0, places).index_select(1, places);
  InverseFactor factor = inverse_factor(name, exact, options.damping);
  solution.weight = moved ? wide.index_select(1, places) : std::move(wide);
  solution.upper = std::move(factor.upper);
  GptqResult result;
  result.damping = factor.damping;
  result.error = solve(solution, options);
  at::Tensor group_of;
  if (options.order == ColumnOrder::scattered) {
    group_of = at::empty({static_cast<int64_t>(solution.column.size())}, at::kInt);
    for (size_t place = 0; place < solution.column.size(); ++place)
      group_of.mutable_data_ptr<int32_t>()[solution.column[place]] = solution.group[place];
  }
  result.parts =
      packed_parts("gptq", options.rule, solution.codes, solution.scales, solution.zeros, group_of);
  return result;
}

}  // namespace isogrid
