#include "models/cross_entropy.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/cross_entropy.h"
#include "models/cpu_rows.h"

namespace isogrid {
namespace {

/// The composition serves other devices, float64 and what is not contiguous.
bool kernel_serves_logits(const at::Tensor& logits) {
  return logits.is_cpu() && logits.is_contiguous() && any_kernel_element(logits.scalar_type());
}

/// A label outside the vocabulary would be read from beyond its row.
void check_labels(const at::Tensor& labels, int64_t vocabulary) {
  const int64_t* values = labels.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < labels.numel(); ++row)
    if (values[row] < 0 || values[row] >= vocabulary)
      fail(ExitCode::refused_input, "a label is token ", values[row], "; the model's head has ",
           vocabulary, " tokens, 0 to ", vocabulary - 1);
}

kernels::LabelledLogits labelled(const at::Tensor& logits, const at::Tensor& labels,
                                 double smoothing) {
  check_labels(labels, logits.size(1));
  return {.element = *any_kernel_element(logits.scalar_type()),
          .logits = logits.data_ptr(),
          .labels = labels.const_data_ptr<int64_t>(),
          .columns = logits.size(1),
          .smoothing = smoothing};
}

at::Tensor at_least_float32(const at::Tensor& x) {
  return x.to(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
}

at::Tensor losses_by_composition(const at::Tensor& logits, const at::Tensor& log_sum_exp,
                                 const at::Tensor& index, double smoothing) {
  at::Tensor target = logits.gather(1, index).squeeze(1);
  if (smoothing > 0) target = target * (1 - smoothing) + logits.mean(1) * smoothing;
  return log_sum_exp - target;
}

}  // namespace

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels, double smoothing) {
  if (!kernel_serves_logits(logits)) {
    const at::Tensor wide = at_least_float32(logits);
    return losses_by_composition(wide, at::logsumexp(wide, {1}), labels.unsqueeze(1), smoothing);
  }
  const at::Tensor whole_labels = labels.contiguous();
  const auto in = labelled(logits, whole_labels, smoothing);
  at::Tensor losses = at::empty({logits.size(0)}, at::kFloat);
  for_cpu_rows(logits.size(0), logits.size(1), [&](int64_t first, int64_t last) {
    kernels::cross_entropy_kernels().losses(in, losses.mutable_data_ptr<float>(), first, last);
  });
  return losses;
}

DifferentiatedCrossEntropy differentiate_cross_entropy(at::Tensor logits, const at::Tensor& labels,
                                                       double smoothing,
                                                       const at::Tensor& factors) {
  if (!kernel_serves_logits(logits)) {
    logits = at_least_float32(logits);
    const at::Tensor log_sum_exp = at::logsumexp(logits, {1}), index = labels.unsqueeze(1);
    const at::Tensor losses = losses_by_composition(logits, log_sum_exp, index, smoothing);
    logits.sub_(log_sum_exp.unsqueeze(1)).exp_();
    if (smoothing > 0) logits.sub_(smoothing / static_cast<double>(logits.size(1)));
    logits.scatter_add_(1, index, at::full_like(index, smoothing - 1, logits.scalar_type()));
    if (factors.defined()) logits.mul_(factors.unsqueeze(1));
    return {losses, logits};
  }
  const at::Tensor whole_labels = labels.contiguous();
  const at::Tensor row_factors = factors.defined() ? factors.to(at::kFloat).contiguous() : factors;
  const auto in = labelled(logits, whole_labels, smoothing);
  at::Tensor losses = at::empty({logits.size(0)}, at::kFloat);
  for_cpu_rows(logits.size(0), logits.size(1), [&](int64_t first, int64_t last) {
    kernels::cross_entropy_kernels().differentiate(
        in, losses.mutable_data_ptr<float>(),
        factors.defined() ? row_factors.const_data_ptr<float>() : nullptr, first, last);
  });
  return {losses, logits};
}

}  // namespace isogrid
