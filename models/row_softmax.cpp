#include "models/row_softmax.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/where.h>

#include "kernels/cross_entropy.h"
#include "models/cpu_rows.h"

namespace isogrid {
namespace {

kernels::LogitRows logit_rows(const at::Tensor& logits) {
  return {.element = *any_kernel_element(logits.scalar_type()),
          .logits = logits.data_ptr(),
          .columns = logits.size(1)};
}

/// Nothing is subtracted from a row of nothing.
at::Tensor subtracted_sums(const RowSoftmax& softmax) {
  return at::where(softmax.log_sums.isinf(), softmax.log_sums.new_zeros({}), softmax.log_sums);
}

/// Keeps float32 copies of what a kernel reads by pointer.
struct SoftmaxArguments {
  explicit SoftmaxArguments(const RowSoftmax& softmax)
      : sums(subtracted_sums(softmax).to(at::kFloat).contiguous()),
        factors(softmax.factors.to(at::kFloat).contiguous()),
        kernel{.inverse_temperature = static_cast<float>(1 / softmax.temperature),
               .log_sums = sums.const_data_ptr<float>(),
               .factors = factors.const_data_ptr<float>()} {}
  at::Tensor sums, factors;
  kernels::ScaledSoftmax kernel;
};

at::Tensor composed(const at::Tensor& logits, const RowSoftmax& softmax) {
  const at::Tensor scaled = softmax.temperature == 1 ? logits : logits / softmax.temperature;
  return at::exp(scaled - subtracted_sums(softmax).unsqueeze(1)) * softmax.factors.unsqueeze(1);
}

}  // namespace

bool softens_in_place(const at::Tensor& logits) {
  return logits.is_cpu() && logits.is_contiguous() &&
         any_kernel_element(logits.scalar_type()).has_value();
}

at::Tensor row_log_sums(const at::Tensor& logits, double temperature) {
  if (!softens_in_place(logits))
    return at::logsumexp(temperature == 1 ? logits : logits / temperature, {1});
  at::Tensor sums = at::empty({logits.size(0)}, at::kFloat);
  const kernels::LogitRows in = logit_rows(logits);
  const auto inverse = static_cast<float>(1 / temperature);
  for_cpu_rows(logits.size(0), logits.size(1), [&](int64_t first, int64_t last) {
    kernels::cross_entropy_kernels().log_sums(in, inverse, sums.mutable_data_ptr<float>(), first,
                                              last);
  });
  return sums;
}

void soften_rows(at::Tensor& logits, const RowSoftmax& one, const RowSoftmax& other) {
  const bool has_other = other.factors.defined();
  if (!softens_in_place(logits)) {
    at::Tensor sum = composed(logits, one);
    if (has_other) sum.add_(composed(logits, other));
    logits.copy_(sum);
    return;
  }
  const SoftmaxArguments first_softmax(one), second_softmax(has_other ? other : one);
  const kernels::LogitRows in = logit_rows(logits);
  for_cpu_rows(logits.size(0), logits.size(1), [&](int64_t first, int64_t last) {
    kernels::cross_entropy_kernels().softmaxes(
        in, first_softmax.kernel, has_other ? &second_softmax.kernel : nullptr, first, last);
  });
}

}  // namespace isogrid
