#include "quant/lut_forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>

#include "quant/lut_table.h"

namespace isogrid {
namespace {

at::Tensor rounded(const at::Tensor& tensor, bool half) { return half ? as_half(tensor) : tensor; }

}  // namespace

at::Tensor factored_product(const LutFactors& factors, const at::Tensor& x, bool half) {
  const at::Tensor values = lut_values(factors, x.scalar_type()).t();
  at::Tensor y = at::zeros({x.size(0), factors.rows()}, x.options());
  for (int64_t k = 0; k < factors.right.size(0); ++k) {
    const at::Tensor scaled = rounded(x * factors.right[k].to(x.scalar_type()), half);
    const at::Tensor product = rounded(at::matmul(scaled, values), half);
    y = rounded(y + product * factors.left.select(1, k).to(x.scalar_type()), half);
  }
  return y;
}

at::Tensor batched_product(const LutFactors& factors, const at::Tensor& x, bool half) {
  const at::Tensor values = lut_values(factors, x.scalar_type()).t();
  const at::Tensor scaled =
      rounded(x.unsqueeze(1) * factors.right.to(x.scalar_type()).unsqueeze(0), half);
  const at::Tensor products = rounded(at::matmul(scaled, values), half);
  return rounded((products * factors.left.t().to(x.scalar_type()).unsqueeze(0)).sum(1), half);
}

}  // namespace isogrid
