#include "trainer/guard.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace isogrid {
namespace {

constexpr int64_t kStepsBetweenDoublings = 2000;
constexpr int64_t kMostInARow = 3;
constexpr int64_t kWindow = 1000;
constexpr int64_t kMostInWindow = 10;
constexpr int64_t kElementsPerLook = 1 << 20;

void after_good_step(LossScale& scale) {
  if (!scale.on || ++scale.steps_without_overflow < kStepsBetweenDoublings) return;
  scale.value *= 2;
  scale.steps_without_overflow = 0;
}

bool lowers_scale(LossScale& scale) {
  if (!scale.on) return false;
  scale.value /= 2;
  scale.steps_without_overflow = 0;
  return scale.value >= 1;
}

bool is_all_finite(const at::Tensor& tensor) {
  if (!tensor.is_floating_point()) return true;
  const at::Tensor flat = tensor.reshape({-1});
  for (int64_t first = 0; first < flat.numel(); first += kElementsPerLook) {
    const at::Tensor part = flat.slice(0, first, std::min(flat.numel(), first + kElementsPerLook));
    // A sum over absolute values is finite in float64 exactly where all of them are.
    if (!std::isfinite(part.abs().sum(at::kDouble).item<double>())) return false;
  }
  return true;
}

}  // namespace

Verdict judge_step(const StepReport& report, const std::string& policy, Training& training,
                   Progress& progress) {
  if (report.updated) {
    after_good_step(training.loss_scale);
    progress.skipped_in_a_row = 0;
    return Verdict::fine;
  }
  // The loss itself is never scaled: where it is not finite the scale is not to blame.
  if (std::isfinite(report.loss) && lowers_scale(training.loss_scale)) return Verdict::skipped;
  if (policy != "skip") return Verdict::stop;
  std::erase_if(progress.skipped_steps,
                [&](int64_t step) { return step <= progress.step - kWindow; });
  progress.skipped_steps.push_back(progress.step);
  ++progress.skipped_in_a_row;
  const bool bounded = progress.skipped_in_a_row <= kMostInARow &&
                       static_cast<int64_t>(progress.skipped_steps.size()) <= kMostInWindow;
  return bounded ? Verdict::skipped : Verdict::stop;
}

bool state_is_finite(Training& training) {
  const at::NoGradGuard no_grad;
  if (!is_all_finite(training.trainables.master)) return false;
  if (training.average.defined() && !is_all_finite(training.average)) return false;
  bool finite = true;
  visit_state(training.optimizer, training.trainables, [&](const std::string&, at::Tensor& tensor) {
    finite = finite && is_all_finite(tensor);
  });
  return finite;
}

}  // namespace isogrid
