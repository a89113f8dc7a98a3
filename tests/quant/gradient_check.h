#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <functional>

namespace isogrid::test {

/// The gradient of `loss` with respect to `tensor` (float64) by central differences.
inline at::Tensor difference_quotient(at::Tensor tensor, const std::function<double()>& loss,
                                      double step = 1e-5) {
  const at::NoGradGuard no_grad;
  at::Tensor slope = at::empty_like(tensor.detach());
  double* value = tensor.mutable_data_ptr<double>();
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    const double kept = value[i];
    value[i] = kept + step;
    const double up = loss();
    value[i] = kept - step;
    slope.mutable_data_ptr<double>()[i] = (up - loss()) / (2 * step);
    value[i] = kept;
  }
  return slope;
}

/// max|a - b| / max|b|
inline double gap(const at::Tensor& a, const at::Tensor& b) {
  const double scale = b.detach().to(at::kDouble).abs().max().item<double>();
  const double most =
      (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
  return most == 0 ? 0 : most / std::max(scale, 1e-300);
}

}  // namespace isogrid::test
