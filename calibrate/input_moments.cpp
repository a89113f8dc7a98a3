#include "calibrate/input_moments.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace isogrid {

void InputMoments::add(const at::Tensor& inputs) {
  const at::Tensor wide = inputs.detach().to(at::kCPU, at::kFloat);
  if (tokens_ == 0) {
    products_ = at::zeros({wide.size(1), wide.size(1)}, at::kFloat);
    magnitudes_ = at::zeros({wide.size(1)}, at::kDouble);
  }
  products_.addmm_(wide.t(), wide);
  magnitudes_.add_(wide.abs().sum(0, /*keepdim=*/false, at::kDouble));
  tokens_ += wide.size(0);
}

at::Tensor InputMoments::second_moment() const {
  return products_ / static_cast<double>(std::max<int64_t>(1, tokens_));
}

at::Tensor InputMoments::mean_magnitude() const {
  return (magnitudes_ / static_cast<double>(std::max<int64_t>(1, tokens_))).to(at::kFloat);
}

double product_error(const at::Tensor& change, const at::Tensor& second_moment) {
  return at::mm(change, second_moment).mul_(change).sum(at::kDouble).item<double>();
}

}  // namespace isogrid
