#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "data/batch_stream.h"
#include "trainer/anchor.h"
#include "trainer/forward_pass.h"
#include "trainer/magnitude_watch.h"
#include "trainer/optimizer.h"
#include "trainer/schedule.h"
#include "trainer/trainables.h"

namespace isogrid {

/// float16 gradients are computed scaled up, so that small ones do not vanish. The scale halves
/// when one overflows and doubles after a long time without.
struct LossScale {
  bool on = false;
  double value = 65536;
  int64_t steps_without_overflow = 0;
};

/// A model in training: everything a step reads and moves.
struct Training {
  CausalLm model;
  Trainables trainables;
  Optimizer optimizer;
  Schedule schedule;
  LossScale loss_scale;
  PassSettings pass;
  std::optional<Anchor> anchor;
  MagnitudeWatch magnitudes;
  double max_grad_norm = 1.0;  // 0: no clipping
  double ema_decay = 0;        // 0: no average
  at::Tensor average;          // [n] like the masters: their running average
};

struct StepReport {
  double loss = 0;  // mean over the label tokens of the whole step, and what the anchor adds
  double grad_norm = 0;
  double learning_rate = 0;
  int64_t label_tokens = 0;
  bool updated = false;          // false: something was not finite and nothing was touched
  std::string first_bad_tensor;  // whose gradient was not finite
};

/// One optimizer step, number `step` of the run counted from 0.
StepReport run_step(Training& training, const BatchStream& batches, int64_t step);

}  // namespace isogrid
