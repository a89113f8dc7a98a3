#include "trainer/magnitude_watch.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "core/error.h"
#include "models/lut_training.h"
#include "trainer/step.h"

namespace isogrid {
namespace {

double change_since(const std::vector<TensorSlot>& now, const std::vector<at::Tensor>& before) {
  double most = 0;
  for (size_t i = 0; i < now.size(); ++i)
    most = std::max(most, largest_change(*now[i].tensor, before[i]));
  return most;
}

TrainedSlice& slice_of(Training& training, const std::string& name) {
  for (TrainedSlice& slice : training.trainables.slices)
    if (slice.name == name) return slice;
  fail(ExitCode::internal, name, ": is watched and does not train");
}

void snap(Training& training, const std::vector<TensorSlot>& magnitudes) {
  for (const TensorSlot& slot : magnitudes) {
    round_to_half(*slot.tensor);
    if (!training.average.defined()) continue;
    at::Tensor mean = training.trainables.view(training.average, slice_of(training, slot.name));
    round_to_half(mean);
  }
  refresh_working(training.trainables);
}

}  // namespace

MagnitudeWatch watch_of(const LutConfig& config, CausalLm& model) {
  MagnitudeWatch watch;
  if (!config.lut_auto_snap) return watch;
  if (trained_magnitudes(model).empty())
    fail(ExitCode::configuration,
         "lut_auto_snap: no magnitude trains; it needs layers of lut_parameters: v2, lut_train "
         "with scales or magnitudes, and magnitudes that are not held fixed already");
  watch.on = true;
  watch.threshold = config.lut_auto_snap_threshold;
  watch.patience = config.lut_auto_snap_patience;
  watch.start_step = config.lut_auto_snap_start_step;
  watch.steps_between = config.lut_auto_snap_steps;
  return watch;
}

bool watch_magnitudes(Training& training, int64_t step) {
  MagnitudeWatch& watch = training.magnitudes;
  if (!watch.on || watch.snapped || step < watch.start_step) return false;
  if ((step - watch.start_step) % watch.steps_between != 0) return false;
  const at::NoGradGuard no_grad;
  const std::vector<TensorSlot> magnitudes = trained_magnitudes(training.model);
  if (!watch.before.empty()) {
    const bool is_settled = change_since(magnitudes, watch.before) < watch.threshold;
    watch.settled = is_settled ? watch.settled + 1 : 0;
  }
  watch.before.clear();
  for (const TensorSlot& slot : magnitudes) watch.before.push_back(slot.tensor->detach().clone());
  if (watch.settled < watch.patience) return false;
  snap(training, magnitudes);
  hold_magnitudes(training);
  return true;
}

void hold_magnitudes(Training& training) {
  for (const TensorSlot& slot : trained_magnitudes(training.model)) {
    slice_of(training, slot.name).moves = false;
    slot.tensor->requires_grad_(false);
  }
  training.magnitudes.snapped = true;
  training.magnitudes.before.clear();
}

void visit_watch(Training& training, bool remembers,
                 const std::function<void(const std::string&, at::Tensor&)>& visitor) {
  MagnitudeWatch& watch = training.magnitudes;
  if (!watch.on || watch.snapped || !remembers) return;
  const std::vector<TensorSlot> magnitudes = trained_magnitudes(training.model);
  for (size_t i = watch.before.size(); i < magnitudes.size(); ++i)
    watch.before.push_back(at::empty_like(magnitudes[i].tensor->detach()));
  for (size_t i = 0; i < magnitudes.size(); ++i)
    visitor("watched." + magnitudes[i].name, watch.before[i]);
}

}  // namespace isogrid
