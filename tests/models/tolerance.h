#pragma once
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/max.h>

namespace isogrid::test {

/// The one table of tolerances: max|a - b| / max|b| that a computation of this type may show.
inline double tolerance(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return 1e-12;
    case at::kFloat:
      return 2e-5;
    case at::kHalf:
      return 4e-3;
    default:
      return 2e-2;  // bfloat16
  }
}

/// max|a - b| / max|b|, in float64; 0 for empty tensors and for two zeros.
inline double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0) return a.sizes() == b.sizes() ? 0 : 1e9;
  const double scale = b.to(at::kDouble).abs().max().item<double>();
  const double gap = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  return gap == 0 ? 0 : gap / (scale == 0 ? 1 : scale);
}

}  // namespace isogrid::test
