#include "quant/weight_source.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

namespace isogrid {

void add_gradient(at::Tensor& trainable, const at::Tensor& value) {
  const at::NoGradGuard no_grad;
  at::Tensor& gradient = trainable.mutable_grad();
  if (gradient.defined())
    gradient.add_(value);
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
