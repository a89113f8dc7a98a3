#include "quant/weight_source.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <optional>

#include "kernels/optimizer.h"

namespace isogrid {

namespace {

std::optional<kernels::Element> added_element(const at::Tensor& onto, const at::Tensor& value) {
  const bool plain = onto.is_cpu() && onto.scalar_type() == at::kFloat && onto.is_contiguous() &&
                     value.is_contiguous() && onto.sizes() == value.sizes();
  if (!plain) return std::nullopt;
  if (value.scalar_type() == at::kFloat) return kernels::Element::f32;
  if (value.scalar_type() == at::kBFloat16) return kernels::Element::bf16;
  if (value.scalar_type() == at::kHalf) return kernels::Element::f16;
  return std::nullopt;
}

}  // namespace

void add_onto(at::Tensor& onto, const at::Tensor& value) {
  const auto element = added_element(onto, value);
  if (!element) {
    onto.add_(value);
    return;
  }
  constexpr int64_t kElementsPerPart = 1 << 16;
  float* to = onto.mutable_data_ptr<float>();
  at::parallel_for(0, value.numel(), kElementsPerPart, [&](int64_t first, int64_t last) {
    kernels::optimizer_kernels().accumulate(*element, value.const_data_ptr(), to, first, last);
  });
}

void add_gradient(at::Tensor& trainable, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  at::Tensor& gradient = trainable.mutable_grad();
  if (gradient.defined())
    add_onto(gradient, value);
  else
    gradient = value.to(trainable.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor whole_weight(const WeightSource& source, at::ScalarType compute, at::Device device) {
  at::Tensor weight = source.resident(compute);
  if (weight.defined()) return weight;
  weight = at::empty({source.outputs(), source.inputs()},
                     at::TensorOptions().dtype(compute).device(device));
  source.materialise(weight, 0, source.outputs(), nullptr);
  return weight;
}

}  // namespace isogrid
