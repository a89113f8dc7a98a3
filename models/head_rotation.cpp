#include "models/head_rotation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "kernels/elementwise.h"
#include "models/cpu_rows.h"
#include "quant/weight_source.h"

namespace isogrid {
namespace {

constexpr int64_t kLargestKernelHead = 1024;

bool kernel_can_rotate(const at::Tensor& x, const HeadRotation& how) {
  const auto element = cpu_kernel_element(x);
  if (!element || how.head_dim > kLargestKernelHead) return false;
  return !how.norm.weight.defined() || cpu_kernel_element(how.norm.weight) == element;
}

const void* weight_pointer(const HeadRotation& how) {
  return how.norm.weight.defined() ? how.norm.weight.const_data_ptr() : nullptr;
}
const float* angle_pointer(const at::Tensor& angles) {
  return angles.defined() ? angles.const_data_ptr<float>() : nullptr;
}

at::Tensor turned(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  const auto wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t half = x.size(-1) / 2;
  const at::Tensor a = x.slice(-1, 0, half).to(wide), b = x.slice(-1, half).to(wide);
  const at::Tensor c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
  return at::cat({a * c - b * s, b * c + a * s}, -1).to(x.scalar_type());
}

}  // namespace

at::Tensor rotate_heads_composition(const at::Tensor& x, const HeadRotation& how) {
  at::Tensor heads = x.reshape({x.size(0), how.heads, how.head_dim});
  if (how.norm.weight.defined()) heads = rms_norm_composition(heads, how.norm);
  return how.cosine.defined() ? turned(heads, how.cosine, how.sine) : heads;
}

at::Tensor rotate_heads(const at::Tensor& x, const HeadRotation& how) {
  if (!how.norm.weight.defined() && !how.cosine.defined())
    return x.view({x.size(0), how.heads, how.head_dim});
  if (!kernel_can_rotate(x, how)) return rotate_heads_composition(x, how).contiguous();
  at::Tensor y = at::empty({x.size(0), how.heads, how.head_dim}, x.options());
  for_cpu_rows(x.size(0), how.heads * how.head_dim, [&](int64_t first, int64_t last) {
    kernels::elementwise_kernels().norm_rope(
        *cpu_kernel_element(x), x.const_data_ptr(), weight_pointer(how), angle_pointer(how.cosine),
        angle_pointer(how.sine), y.mutable_data_ptr(), first, last, how.heads, how.head_dim,
        static_cast<float>(how.norm.eps));
  });
  return y;
}

namespace {

at::Tensor backward_by_composition(const at::Tensor& x, const HeadRotation& how,
                                   const at::Tensor& dy) {
  at::Tensor d = dy;
  if (how.cosine.defined()) d = turned(d, how.cosine, -how.sine);
  if (!how.norm.weight.defined()) return d.reshape(x.sizes());
  const at::Tensor heads = x.reshape({x.size(0), how.heads, how.head_dim});
  return rms_norm_backward(heads, how.norm, d).reshape(x.sizes());
}

}  // namespace

at::Tensor rotate_heads_backward(const at::Tensor& x, const HeadRotation& how,
                                 const at::Tensor& dy) {
  if (!how.norm.weight.defined() && !how.cosine.defined()) return dy.reshape(x.sizes());
  const at::Tensor d = dy.contiguous();
  if (!kernel_can_rotate(x, how) || !cpu_kernel_element(d))
    return backward_by_composition(x, how, d);

  const int64_t tokens = x.size(0);
  const int64_t parts = (tokens + kRowsPerPartialSum - 1) / kRowsPerPartialSum;
  at::Tensor weight = how.norm.weight;
  const bool wanted = weight.defined() && weight.requires_grad();
  at::Tensor partial = wanted ? at::zeros({parts, how.head_dim}, at::kFloat) : at::Tensor();
  at::Tensor dx = at::empty(x.sizes(), x.options());
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      kernels::elementwise_kernels().norm_rope_backward(
          *cpu_kernel_element(x), x.const_data_ptr(), weight_pointer(how),
          angle_pointer(how.cosine), angle_pointer(how.sine), d.const_data_ptr(),
          dx.mutable_data_ptr(),
          wanted ? partial.mutable_data_ptr<float>() + part * how.head_dim : nullptr,
          part * kRowsPerPartialSum, std::min(tokens, (part + 1) * kRowsPerPartialSum), how.heads,
          how.head_dim, static_cast<float>(how.norm.eps));
  });
  if (wanted) add_gradient(weight, partial.sum(0));
  return dx;
}

}  // namespace isogrid
