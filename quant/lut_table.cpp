#include "quant/lut_table.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/log.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "quant/weight_source.h"

namespace isogrid {
namespace {

constexpr double kLargestHalf = 65504.0;

double half_of(double value) {
  return static_cast<double>(static_cast<_Float16>(static_cast<float>(value)));
}

/// The neighbour of a float16 that is `steps` (+1 or -1) further up.
double neighbour(double value, int steps) {
  if (value == 0) return steps * 0x1p-24;
  const auto half = static_cast<_Float16>(static_cast<float>(value));
  const int away = value > 0 ? steps : -steps;
  const auto bits = static_cast<uint16_t>(__builtin_bit_cast(uint16_t, half) + away);
  return static_cast<double>(__builtin_bit_cast(_Float16, bits));
}

at::Tensor mirrored(const at::Tensor& positive) { return at::cat({-positive.flip({0}), positive}); }

std::vector<double> in_order(const at::Tensor& values) {
  const at::Tensor wide = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* first = wide.const_data_ptr<double>();
  return {first, first + wide.numel()};
}

/// Strictly rising float16 values, the last one as it is: each is lowered below the next where it
/// must be, then raised above the one before, and above `floor`.
void spread(std::vector<double>& values, double floor) {
  for (double& value : values) value = half_of(value);
  for (size_t i = values.size() - 1; i > 0; --i)
    values[i - 1] = std::min(values[i - 1], neighbour(values[i], -1));
  values[0] = std::max(values[0], floor);
  for (size_t i = 1; i < values.size(); ++i)
    values[i] = std::max(values[i], neighbour(values[i - 1], 1));
}

}  // namespace

double LutTable::top() const { return values.detach().abs().max().item<double>(); }

bool LutTable::trains() const {
  return values.requires_grad() || (logits.defined() && logits.requires_grad());
}

at::Tensor uniform_table(int bits) {
  // Written out, because a linspace in half precision differs between programs and processors.
  if (bits == 2) return at::tensor({-1.0f, -0.33349609375f, 0.33349609375f, 1.0f}, at::kFloat);
  if (bits != 4) fail(ExitCode::internal, "no table of ", bits, " bits");
  return mirrored(at::tensor({0.06689453125f, 0.2001953125f, 0.33349609375f, 0.466796875f,
                              0.60009765625f, 0.7333984375f, 0.86669921875f, 1.0f},
                             at::kFloat));
}

double least_step(double top) {
  return std::max(2.0 * std::exp2(std::ceil(std::log2(top)) - 10.0), 1e-4);
}

bool is_symmetric(const at::Tensor& values) {
  return values.detach().equal(-values.detach().flip({0}));
}

void give_logits(LutTable& table) {
  if (!is_symmetric(table.values))
    fail(ExitCode::configuration, "a look-up table that is not symmetric has no logits");
  const at::NoGradGuard no_grad;
  table.values = as_half(table.values.detach());
  const int64_t half = table.size() / 2;
  const double top = table.top(), least = least_step(top);
  const at::Tensor positive = table.values.detach().slice(0, half).to(at::kDouble);
  at::Tensor steps = positive.clone();
  steps.slice(0, 1).sub_(positive.slice(0, 0, half - 1));
  const double room = top - static_cast<double>(half) * least;
  table.logits = steps.sub(least).div(room).clamp_min(1e-6).log().to(table.values.scalar_type());
}

at::Tensor table_values(const LutTable& table, at::ScalarType type, bool half) {
  if (!table.logits.defined()) {
    const at::Tensor values = table.values.detach().to(type);
    return half ? as_half(values) : values;
  }
  const auto count = static_cast<double>(table.logits.size(0));
  const double top = table.top(), least = least_step(top);
  const at::Tensor share = at::softmax(table.logits.detach().to(type), 0);
  at::Tensor positive = at::cumsum(share * (top - count * least) + least, 0);
  positive[-1] = top;
  // A table that trains is one of float16 in every use: it is stored as that.
  return as_half(mirrored(positive));
}

void accumulate_table(LutTable& table, const at::Tensor& d_values) {
  const at::NoGradGuard no_grad;
  if (!table.logits.defined()) {
    if (table.values.requires_grad()) add_gradient(table.values, d_values);
    return;
  }
  if (!table.logits.requires_grad()) return;
  const int64_t half = table.logits.size(0);
  const double top = table.top(), least = least_step(top);
  at::Tensor d_positive = d_values.slice(0, half) - d_values.slice(0, 0, half).flip({0});
  d_positive[-1] = 0;  // the outermost value stands
  const at::Tensor d_steps = d_positive.flip({0}).cumsum(0).flip({0});
  const at::Tensor share = at::softmax(table.logits.detach().to(d_values.scalar_type()), 0);
  const at::Tensor d_share = d_steps * (top - static_cast<double>(half) * least);
  add_gradient(table.logits, share * (d_share - (share * d_share).sum()));
}

at::Tensor as_half(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kHalf) return tensor;
  return tensor.clamp(-kLargestHalf, kLargestHalf).to(at::kHalf).to(tensor.scalar_type());
}

at::Tensor repaired_table(const at::Tensor& values) {
  std::vector<double> all = in_order(values);
  if (!is_symmetric(values)) {
    spread(all, -kLargestHalf);
    for (double& value : all)
      if (value == 0) value = 0x1p-24;
    return at::tensor(all, at::kDouble).to(values.scalar_type());
  }
  std::vector<double> up(all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
  spread(up, 0x1p-24);
  return mirrored(at::tensor(up, at::kDouble)).to(values.scalar_type());
}

}  // namespace isogrid
