#include "trainer/step.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "models/attach_adapters.h"
#include "trainer/average.h"

namespace isogrid {
namespace {

double clip_factor(double norm, double longest) {
  return longest > 0 ? std::min(1.0, longest / (norm + 1e-6)) : 1.0;
}

}  // namespace

StepReport run_step(Training& training, const BatchStream& batches, int64_t step) {
  StepReport report;
  report.learning_rate = learning_rate(training.schedule, step);
  report.label_tokens = batches.label_tokens(step);
  const double scale = training.loss_scale.on ? training.loss_scale.value : 1.0;
  const auto tokens = static_cast<double>(report.label_tokens);
  const PassSettings settings = pass_at(training.pass, step, training.schedule.total);

  training.trainables.gradient.zero_();
  for (int64_t micro_batch = 0; micro_batch < batches.micro_batches(step); ++micro_batch) {
    const ForwardPass pass(training.model, batches.at(step, micro_batch), settings, scale / tokens);
    report.loss += pass.loss_sum() / tokens;
    pass.backward();
  }
  report.loss += hold_to_anchor(training, step, scale);

  report.grad_norm = gradient_norm(training.trainables) / scale;
  if (!std::isfinite(report.loss) || !std::isfinite(report.grad_norm)) {
    report.first_bad_tensor = first_non_finite_gradient(training.trainables);
    return report;
  }
  update(training.optimizer, training.trainables, report.learning_rate,
         clip_factor(report.grad_norm, training.max_grad_norm) / scale);
  refresh_row_lengths(training.model);
  blend_average(training);
  report.updated = true;
  return report;
}

}  // namespace isogrid
