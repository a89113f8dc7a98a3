#pragma once
#include <cstdint>

#include "configs/run_config.h"
#include "data/batch_stream.h"

namespace isogrid {

/// How long a run is and after which steps something happens. Settled before the first step.
struct RunPlan {
  int64_t total_steps = 0;
  int64_t steps_per_epoch = 1;
  int64_t log_every = 0;
  int64_t eval_every = 0;  // 0: never
  int64_t save_every = 0;
  int64_t eval_from = 0;  // steps before the first evaluation
  bool log_first = false;
};

RunPlan make_run_plan(const RunConfig& config, int64_t steps_per_epoch, bool can_evaluate);

/// How the config cuts rows into steps.
BatchPlan make_batch_plan(const RunConfig& config);

/// After `steps_done` steps, is it time? The last step of the run always counts for logging.
bool logs_after(const RunPlan& plan, int64_t steps_done);
bool evaluates_after(const RunPlan& plan, int64_t steps_done);
bool saves_after(const RunPlan& plan, int64_t steps_done);

/// Passes over the data after `steps_done` steps.
double epochs_after(const RunPlan& plan, int64_t steps_done);

}  // namespace isogrid
