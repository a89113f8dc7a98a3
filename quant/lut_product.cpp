#include "quant/lut_product.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/scatter_add.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "kernels/lut.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

using kernels::kLutLanes;

constexpr int64_t kRowsPerSum = 256;  // gradients of `right` are summed in runs of so many rows

bool has_element(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  return tensor.is_cpu() && tensor.is_contiguous() &&
         (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf);
}

kernels::Element element_of(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) return kernels::Element::f32;
  return tensor.scalar_type() == at::kHalf ? kernels::Element::f16 : kernels::Element::bf16;
}

int64_t whole_vectors(int64_t n) { return (n + kLutLanes - 1) / kLutLanes * kLutLanes; }

/// [rows, columns rounded up to whole vectors], zero beyond the matrix.
at::Tensor widened(const at::Tensor& matrix) {
  at::Tensor wide = at::zeros({matrix.size(0), whole_vectors(matrix.size(1))},
                              matrix.options().dtype(at::kFloat));
  wide.slice(1, 0, matrix.size(1)).copy_(matrix);
  return wide;
}

/// The factors as the kernels read them, and what keeps their memory.
struct KernelWeight {
  at::Tensor codes, table, left, right;
  kernels::LutWeight view;

  explicit KernelWeight(const LutFactors& f)
      : codes(f.codes.contiguous()),
        table(f.table.to(at::kFloat).contiguous()),
        left(f.left.to(at::kFloat).contiguous()),
        right(widened(f.right)),
        view{.codes = codes.const_data_ptr<uint8_t>(),
             .code_bytes = codes.size(1),
             .bits = f.bits,
             .table = table.const_data_ptr<float>(),
             .left = left.const_data_ptr<float>(),
             .right = right.const_data_ptr<float>(),
             .columns = f.columns(),
             .rank = left.size(1),
             .lowest = static_cast<float>(f.lowest)} {}
};

/// The composition, for float64 and for other devices.
at::Tensor lifted_scales(const LutFactors& f, at::ScalarType type) {
  return at::mm(f.left.to(type), f.right.to(type)).clamp_min(f.lowest);
}

at::Tensor values_of(const LutFactors& f, const at::Tensor& codes, at::ScalarType type) {
  return at::index_select(f.table.to(type), 0, codes.reshape({-1}).to(at::kLong))
      .view(codes.sizes());
}

LutFactorGradients composed_gradients(const LutFactors& f, const at::Tensor& d_weight,
                                      bool with_table) {
  const auto type = d_weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor codes = unpack_codes(f.codes, f.bits, f.columns());
  const at::Tensor d = d_weight.to(type), left = f.left.to(type), right = f.right.to(type);
  const at::Tensor scales = at::mm(left, right);
  const at::Tensor d_scales = d * values_of(f, codes, type) * scales.gt(f.lowest);
  LutFactorGradients gradients{at::mm(d_scales, right.t()), at::mm(left.t(), d_scales), {}};
  if (with_table)
    gradients.table = at::zeros({f.table.size(0)}, d.options())
                          .scatter_add(0, codes.reshape({-1}).to(at::kLong),
                                       (d * scales.clamp_min(f.lowest)).reshape({-1}));
  return gradients;
}

LutFactorGradients kernel_gradients(const LutFactors& f, const at::Tensor& d_weight,
                                    bool with_table) {
  const KernelWeight weight(f);
  const int64_t rows = f.rows(), rank = weight.view.rank, wide = weight.right.size(1);
  const int64_t runs = (rows + kRowsPerSum - 1) / kRowsPerSum, values = int64_t{1} << f.bits;
  const auto floats = at::TensorOptions().dtype(at::kFloat);
  const at::Tensor turned = widened(weight.right.t());
  at::Tensor left = at::empty({rows, rank}, floats);
  at::Tensor right = at::zeros({runs, rank, wide}, floats);
  at::Tensor table = at::zeros({runs, values}, floats);
  const kernels::LutKernels& kernels = kernels::lut_kernels();
  at::parallel_for(0, runs, 1, [&](int64_t first, int64_t last) {
    std::vector<float> scratch(static_cast<size_t>(kernels.gradient_scratch(rank)));
    for (int64_t run = first; run < last; ++run)
      kernels.gradients(
          weight.view, turned.const_data_ptr<float>(), element_of(d_weight),
          d_weight.const_data_ptr(), run * kRowsPerSum, std::min(rows, (run + 1) * kRowsPerSum),
          {left.mutable_data_ptr<float>(), right.mutable_data_ptr<float>() + run * rank * wide,
           with_table ? table.mutable_data_ptr<float>() + run * values : nullptr},
          scratch.data());
  });
  return {left, right.sum(0).slice(1, 0, f.columns()), with_table ? table.sum(0) : at::Tensor()};
}

}  // namespace

void lut_expand(const LutFactors& factors, at::Tensor& out, int64_t first, int64_t last) {
  const at::NoGradGuard no_grad;
  if (has_element(out)) {
    const KernelWeight weight(factors);
    const int64_t columns = factors.columns();
    auto* to = static_cast<std::byte*>(out.mutable_data_ptr());
    const auto row_bytes = static_cast<int64_t>(out.element_size()) * columns;
    const int64_t grain = std::max<int64_t>(12, 32768 / std::max<int64_t>(1, columns));
    at::parallel_for(first, last, grain, [&](int64_t from, int64_t until) {
      kernels::lut_kernels().expand(weight.view, element_of(out), to + (from - first) * row_bytes,
                                    from, until);
    });
    return;
  }
  LutFactors rows = factors;
  rows.codes = factors.codes.slice(0, first, last);
  rows.left = factors.left.slice(0, first, last);
  const auto type = out.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  out.copy_(lut_values(rows, type) * lifted_scales(rows, type));
}

LutFactorGradients lut_gradients(const LutFactors& factors, const at::Tensor& d_weight,
                                 bool with_table) {
  const at::NoGradGuard no_grad;
  const at::Tensor d = d_weight.contiguous();
  return has_element(d) ? kernel_gradients(factors, d, with_table)
                        : composed_gradients(factors, d, with_table);
}

at::Tensor lut_scales(const LutFactors& factors) {
  return lifted_scales(factors, factors.left.scalar_type());
}

at::Tensor lut_values(const LutFactors& factors, at::ScalarType type) {
  return values_of(factors, unpack_codes(factors.codes, factors.bits, factors.columns()), type);
}

}  // namespace isogrid
