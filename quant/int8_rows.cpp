#include "quant/int8_rows.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cmath>

#include "core/error.h"
#include "kernels/int8_rows.h"

namespace isogrid {
namespace {

int64_t int8_rows_per_share(int64_t columns) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, columns));
}

void check_range(const std::string& name, const at::Tensor& scales) {
  const float* scale = scales.const_data_ptr<float>();
  for (int64_t row = 0; row < scales.numel(); ++row)
    if (!std::isfinite(scale[row]))
      fail(ExitCode::numeric, name, ": row ", row, " holds ",
           std::isnan(scale[row]) ? "a NaN" : "a number beyond 65504",
           "; LLM.int8 goes through float16 and cannot express it; quantization_bit: 4 can hold "
           "large numbers");
}

}  // namespace

Int8RowWeight::Int8RowWeight(at::Tensor codes, at::Tensor scales)
    : FrozenWeight(codes.size(0), codes.size(1)),
      codes_(std::move(codes)),
      scales_(std::move(scales)) {}

void Int8RowWeight::visit(const std::string& prefix, Role, const TensorVisitor& visitor) {
  visitor({prefix + ".weight", &codes_, Role::code});
  visitor({prefix + ".SCB", &scales_, Role::scale});
}

void Int8RowWeight::to(at::Device device) {
  codes_ = codes_.to(device);
  scales_ = scales_.to(device);
}

void Int8RowWeight::expand(at::Tensor& out, int64_t first, int64_t last) const {
  const kernels::Element element = element_of(out);
  auto* to = static_cast<char*>(out.mutable_data_ptr());
  if (!out.is_cpu())
    return kernels::dequantise_int8_rows_on_device(codes_.const_data_ptr<int8_t>(),
                                                   scales_.const_data_ptr<float>(), element, to,
                                                   first, last, inputs(), stream_of(out));
  const int64_t row_bytes = inputs() * static_cast<int64_t>(out.element_size());
  at::parallel_for(first, last, int8_rows_per_share(inputs()), [&](int64_t from, int64_t until) {
    kernels::int8_row_kernels().dequantise(codes_.const_data_ptr<int8_t>(),
                                           scales_.const_data_ptr<float>(), element,
                                           to + (from - first) * row_bytes, from, until, inputs());
  });
}

std::shared_ptr<Int8RowWeight> quantise_int8_rows(const std::string& name,
                                                  const at::Tensor& dense) {
  const at::NoGradGuard no_grad;
  const at::Tensor from = dense.to(at::kCPU).contiguous();
  const int64_t rows = from.size(0), columns = from.size(1);
  const at::Tensor codes = at::empty({rows, columns}, at::TensorOptions().dtype(at::kChar));
  const at::Tensor scales = at::empty({rows}, at::TensorOptions().dtype(at::kFloat));
  at::parallel_for(0, rows, int8_rows_per_share(columns), [&](int64_t first, int64_t last) {
    kernels::int8_row_kernels().quantise(element_of(from), from.const_data_ptr(),
                                         codes.mutable_data_ptr<int8_t>(),
                                         scales.mutable_data_ptr<float>(), first, last, columns);
  });
  check_range(name, scales);
  return std::make_shared<Int8RowWeight>(codes, scales);
}

}  // namespace isogrid
