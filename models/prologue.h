#pragma once
#include <ATen/core/Tensor.h>

namespace isogrid {

/// Scales every row to unit root mean square, then by `weight` [columns].
/// y = x / sqrt(mean(x^2) + eps) * weight, computed in at least float32, returned in x's dtype.
struct RmsNorm {
  at::Tensor weight;
  double eps = 1e-6;
};

/// x [..., columns] -> same. The fused kernel where there is one, else the composition.
at::Tensor rms_norm(const at::Tensor& x, const RmsNorm& norm);
/// Plain differentiable operators: the specification of rms_norm.
at::Tensor rms_norm_composition(const at::Tensor& x, const RmsNorm& norm);
/// Returns dL/dx and adds dL/dweight to the norm's gradient when it trains.
at::Tensor rms_norm_backward(const at::Tensor& x, const RmsNorm& norm, const at::Tensor& dy);

/// silu(gate) * up, computed in at least float32, returned in gate's dtype.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);
at::Tensor swiglu_composition(const at::Tensor& gate, const at::Tensor& up);
struct SwigluGradients {
  at::Tensor gate, up;
};
SwigluGradients swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& dy);

}  // namespace isogrid
