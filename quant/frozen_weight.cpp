#include "quant/frozen_weight.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "core/error.h"

namespace isogrid {
namespace {

bool expands_to(const at::Tensor& out) {
  const at::ScalarType type = out.scalar_type();
  return out.is_contiguous() && (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf);
}

}  // namespace

kernels::Element element_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return kernels::Element::f32;
    case at::kBFloat16:
      return kernels::Element::bf16;
    case at::kHalf:
      return kernels::Element::f16;
    default:
      fail(ExitCode::internal, "a quantised weight knows no ", at::toString(tensor.scalar_type()));
  }
}

void* stream_of(const at::Tensor& tensor) {
  const c10::impl::VirtualGuardImpl device(tensor.device().type());
  return device.getStreamNativeHandle(device.getStream(tensor.device()));
}

void FrozenWeight::materialise(at::Tensor& out, int64_t first, int64_t last,
                               const LowRank* delta) const {
  const at::NoGradGuard no_grad;
  const c10::OptionalDeviceGuard device(out.device());
  if (delta == nullptr && expands_to(out)) return expand(out, first, last);
  at::Tensor wide = at::empty({last - first, inputs_}, out.options().dtype(at::kFloat));
  expand(wide, first, last);
  // Summed in float32: a small change must not vanish in the weight's own rounding.
  if (delta != nullptr)
    wide.add_(at::matmul(delta->b.slice(0, first, last).to(at::kFloat), delta->a.to(at::kFloat)),
              delta->scale);
  out.copy_(wide);
}

at::Tensor FrozenWeight::rows(const at::Tensor& ids, at::ScalarType compute) const {
  at::Tensor picked = at::empty({ids.numel(), inputs_}, ids.options().dtype(compute));
  const at::Tensor on_host = ids.to(at::kCPU, at::kLong).contiguous();
  for (int64_t i = 0; i < on_host.numel(); ++i) {
    const int64_t row = on_host.const_data_ptr<int64_t>()[i];
    at::Tensor to = picked.slice(0, i, i + 1);
    materialise(to, row, row + 1, nullptr);
  }
  return picked;
}

void FrozenWeight::accumulate(const at::Tensor&) {
  fail(ExitCode::internal, "a quantised base takes no gradient");
}

void FrozenWeight::accumulate_rows(const at::Tensor&, const at::Tensor&) {
  fail(ExitCode::internal, "a quantised base takes no gradient");
}

}  // namespace isogrid
