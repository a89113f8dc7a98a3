#include "trainer/average.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "kernels/optimizer.h"
#include "models/attach_adapters.h"

namespace isogrid {
namespace {

constexpr int64_t kElementsPerPart = 1 << 18;

}  // namespace

void blend_average(Training& training) {
  if (!training.average.defined()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor& master = training.trainables.master;
  if (!master.is_cpu() || master.scalar_type() != at::kFloat) {
    training.average.lerp_(master.to(training.average.scalar_type()), 1 - training.ema_decay);
    return;
  }
  float* average = training.average.mutable_data_ptr<float>();
  at::parallel_for(0, master.numel(), kElementsPerPart, [&](int64_t first, int64_t last) {
    kernels::optimizer_kernels().blend(average, master.const_data_ptr<float>(),
                                       static_cast<float>(1 - training.ema_decay), first, last);
  });
}

AveragedWeights::AveragedWeights(Training& training) : training_(training) { exchange(); }

AveragedWeights::~AveragedWeights() { exchange(); }

/// Swapped part by part, so that no second copy of the masters exists.
void AveragedWeights::exchange() {
  if (!training_.average.defined()) return;
  const at::NoGradGuard no_grad;
  Trainables& trainables = training_.trainables;
  for (int64_t first = 0; first < trainables.master.numel(); first += kElementsPerPart) {
    const int64_t last = std::min(trainables.master.numel(), first + kElementsPerPart);
    at::Tensor master = trainables.master.slice(0, first, last);
    at::Tensor average = training_.average.slice(0, first, last);
    const at::Tensor kept = master.clone();
    master.copy_(average);
    average.copy_(kept);
  }
  refresh_working(trainables);
  refresh_row_lengths(training_.model);
}

}  // namespace isogrid
