#include "models/prologue.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include "kernels/elementwise.h"
#include "models/cpu_rows.h"
#include "quant/weight_source.h"

namespace isogrid {
namespace {

/// At least float32: half types are widened, float64 stays.
at::Tensor widened(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

bool same_kernel_element(const at::Tensor& a, const at::Tensor& b) {
  return cpu_kernel_element(a).has_value() && cpu_kernel_element(b) == cpu_kernel_element(a);
}

at::Tensor inverse_root_mean_square(const at::Tensor& wide, double eps) {
  return at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
}

struct NormGradients {
  at::Tensor input, weight;
};

NormGradients norm_gradients_composition(const at::Tensor& x, const RmsNorm& norm,
                                         const at::Tensor& dy) {
  const at::Tensor wide = widened(x), d = widened(dy), weight = widened(norm.weight.detach());
  const at::Tensor scale = inverse_root_mean_square(wide, norm.eps);
  const at::Tensor unit = wide * scale;
  const at::Tensor g = d * weight;
  const at::Tensor dx = scale * (g - unit * (g * unit).mean(-1, /*keepdim=*/true));
  return {dx.to(x.scalar_type()), (d * unit).reshape({-1, x.size(-1)}).sum(0)};
}

NormGradients norm_gradients_cpu(const at::Tensor& x, const RmsNorm& norm, const at::Tensor& dy) {
  const int64_t columns = x.size(-1), rows = x.numel() / columns;
  const int64_t parts = (rows + kRowsPerPartialSum - 1) / kRowsPerPartialSum;
  const bool wanted = norm.weight.requires_grad();
  at::Tensor dx = at::empty_like(x);
  at::Tensor partial = wanted ? at::zeros({parts, columns}, at::kFloat) : at::Tensor();
  const auto& kernel = kernels::elementwise_kernels();
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      kernel.rms_norm_backward(
          *cpu_kernel_element(x), x.const_data_ptr(), norm.weight.const_data_ptr(),
          dy.const_data_ptr(), dx.mutable_data_ptr(),
          wanted ? partial.mutable_data_ptr<float>() + part * columns : nullptr,
          part * kRowsPerPartialSum, std::min(rows, (part + 1) * kRowsPerPartialSum), columns,
          static_cast<float>(norm.eps));
  });
  return {dx, wanted ? partial.sum(0) : at::Tensor()};
}

}  // namespace

at::Tensor rms_norm_composition(const at::Tensor& x, const RmsNorm& norm) {
  const at::Tensor wide = widened(x);
  return (wide * inverse_root_mean_square(wide, norm.eps) * widened(norm.weight))
      .to(x.scalar_type());
}

at::Tensor rms_norm(const at::Tensor& x, const RmsNorm& norm) {
  if (!same_kernel_element(x, norm.weight)) return rms_norm_composition(x, norm);
  at::Tensor y = at::empty_like(x);
  const int64_t columns = x.size(-1);
  for_cpu_rows(x.numel() / columns, columns, [&](int64_t first, int64_t last) {
    kernels::elementwise_kernels().rms_norm(*cpu_kernel_element(x), x.const_data_ptr(),
                                            norm.weight.const_data_ptr(), y.mutable_data_ptr(),
                                            first, last, columns, static_cast<float>(norm.eps));
  });
  return y;
}

at::Tensor rms_norm_backward(const at::Tensor& x, const RmsNorm& norm, const at::Tensor& dy) {
  const NormGradients gradients = same_kernel_element(x, norm.weight) && same_kernel_element(x, dy)
                                      ? norm_gradients_cpu(x, norm, dy)
                                      : norm_gradients_composition(x, norm, dy);
  at::Tensor weight = norm.weight;
  if (weight.requires_grad()) add_gradient(weight, gradients.weight);
  return gradients.input;
}

at::Tensor swiglu_composition(const at::Tensor& gate, const at::Tensor& up) {
  return (at::silu(widened(gate)) * widened(up)).to(gate.scalar_type());
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  if (!same_kernel_element(gate, up)) return swiglu_composition(gate, up);
  at::Tensor y = at::empty_like(gate);
  const int64_t columns = gate.size(-1);
  for_cpu_rows(gate.numel() / columns, columns, [&](int64_t first, int64_t last) {
    kernels::elementwise_kernels().swiglu(*cpu_kernel_element(gate), gate.const_data_ptr(),
                                          up.const_data_ptr(), y.mutable_data_ptr(), first, last,
                                          columns);
  });
  return y;
}

SwigluGradients swiglu_backward(const at::Tensor& gate, const at::Tensor& up,
                                const at::Tensor& dy) {
  if (!same_kernel_element(gate, up) || !same_kernel_element(gate, dy)) {
    const at::Tensor g = widened(gate), u = widened(up), d = widened(dy);
    const at::Tensor s = at::sigmoid(g);
    return {(d * u * s * (1 + g * (1 - s))).to(gate.scalar_type()),
            (d * g * s).to(gate.scalar_type())};
  }
  SwigluGradients gradients{at::empty_like(gate), at::empty_like(up)};
  const int64_t columns = gate.size(-1);
  for_cpu_rows(gate.numel() / columns, columns, [&](int64_t first, int64_t last) {
    kernels::elementwise_kernels().swiglu_backward(
        *cpu_kernel_element(gate), gate.const_data_ptr(), up.const_data_ptr(), dy.const_data_ptr(),
        gradients.gate.mutable_data_ptr(), gradients.up.mutable_data_ptr(), first, last, columns);
  });
  return gradients;
}

}  // namespace isogrid
