#include "quant/dense.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros_like.h>

namespace isogrid {

void DenseWeight::materialise(at::Tensor& out, int64_t first, int64_t last,
                              const LowRank* delta) const {
  const at::NoGradGuard no_grad;
  const at::Tensor rows = weight_.detach().slice(0, first, last);
  if (delta == nullptr) {
    out.copy_(rows);
    return;
  }
  // Summed in float32: a small change must not vanish in the weight's own rounding.
  const at::Tensor change =
      at::matmul(delta->b.slice(0, first, last).to(at::kFloat), delta->a.to(at::kFloat));
  out.copy_(rows.to(at::kFloat) + change * delta->scale);
}

at::Tensor DenseWeight::resident(at::ScalarType compute) const {
  return weight_.scalar_type() == compute ? weight_.detach() : at::Tensor();
}

at::Tensor DenseWeight::rows(const at::Tensor& ids, at::ScalarType compute) const {
  const at::NoGradGuard no_grad;
  return at::index_select(weight_.detach(), 0, ids).to(compute);
}

at::Tensor& DenseWeight::gradient() {
  at::Tensor& gradient = weight_.mutable_grad();
  if (!gradient.defined()) gradient = at::zeros_like(weight_.detach());
  return gradient;
}

bool DenseWeight::accumulate_slice(int64_t first, const at::Tensor& d_rows) {
  const at::NoGradGuard no_grad;
  at::Tensor part = gradient().slice(0, first, first + d_rows.size(0));
  add_onto(part, d_rows);
  return true;
}

void DenseWeight::accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) {
  const at::NoGradGuard no_grad;
  at::Tensor& gradient = this->gradient();
  gradient.index_add_(0, ids, d_rows.to(gradient.scalar_type()));
}

void DenseWeight::to(at::Device device) {
  const bool trained = weight_.requires_grad();
  weight_ = weight_.detach().to(device);
  weight_.requires_grad_(trained);
}

std::shared_ptr<WeightSource> unloaded_dense(int64_t outputs, int64_t inputs) {
  return std::make_shared<DenseWeight>(
      at::empty({outputs, inputs}, at::TensorOptions().dtype(at::kFloat).device(at::kMeta)));
}

}  // namespace isogrid
