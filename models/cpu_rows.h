#pragma once
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <optional>

#include "kernels/element.h"

namespace isogrid {

/// What the kernels that take every floating type but float64 know a type by.
inline std::optional<kernels::Element> any_kernel_element(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return kernels::Element::f32;
    case at::kBFloat16:
      return kernels::Element::bf16;
    case at::kHalf:
      return kernels::Element::f16;
    default:
      return std::nullopt;
  }
}

/// The element type our CPU kernels know this tensor by; empty when the composition must serve.
inline std::optional<kernels::Element> cpu_kernel_element(const at::Tensor& tensor) {
  if (!tensor.is_cpu() || !tensor.is_contiguous()) return std::nullopt;
  if (tensor.scalar_type() == at::kFloat) return kernels::Element::f32;
  if (tensor.scalar_type() == at::kBFloat16) return kernels::Element::bf16;
  return std::nullopt;
}

/// Shares rows out to threads, about 64 KiB of elements at least for each.
template <typename Body>
void for_cpu_rows(int64_t rows, int64_t columns, const Body& body) {
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns));
  at::parallel_for(0, rows, grain, body);
}

/// Sums over rows are cut at fixed places, so that the number of threads changes no bit.
constexpr int64_t kRowsPerPartialSum = 256;

}  // namespace isogrid
