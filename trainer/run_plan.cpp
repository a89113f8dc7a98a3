#include "trainer/run_plan.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace isogrid {
namespace {

/// Below 1 a share of the run, else a count.
int64_t steps_of(double share_or_count, int64_t total) {
  if (share_or_count < 1)
    return std::max<int64_t>(
        1, static_cast<int64_t>(std::ceil(share_or_count * static_cast<double>(total))));
  return static_cast<int64_t>(share_or_count);
}

bool is_multiple(int64_t steps_done, int64_t every) { return every > 0 && steps_done % every == 0; }

int64_t eval_every(const RunConfig& config, const RunPlan& plan) {
  const SavingConfig& saving = config.saving;
  if (saving.eval_strategy == "epoch") return plan.steps_per_epoch;
  if (saving.eval_strategy != "steps") return 0;
  return steps_of(saving.eval_steps.value_or(saving.logging_steps), plan.total_steps);
}

int64_t save_every(const RunConfig& config, const RunPlan& plan) {
  const SavingConfig& saving = config.saving;
  if (saving.save_strategy == "epoch") return plan.steps_per_epoch;
  return saving.save_strategy == "steps" ? steps_of(saving.save_steps, plan.total_steps) : 0;
}

}  // namespace

RunPlan make_run_plan(const RunConfig& config, int64_t steps_per_epoch, bool can_evaluate) {
  RunPlan plan;
  plan.steps_per_epoch = steps_per_epoch;
  plan.total_steps = config.training.max_steps > 0
                         ? config.training.max_steps
                         : static_cast<int64_t>(std::ceil(config.training.num_train_epochs *
                                                          static_cast<double>(steps_per_epoch)));
  plan.log_every = steps_of(config.saving.logging_steps, plan.total_steps);
  plan.log_first = config.saving.logging_first_step;
  plan.save_every = save_every(config, plan);
  plan.eval_every = eval_every(config, plan);
  if (plan.eval_every > 0 && !can_evaluate)
    fail(ExitCode::configuration, "eval_strategy: ", config.saving.eval_strategy,
         ": there is nothing to evaluate on; give val_size or eval_dataset");
  plan.eval_from = config.saving.eval_strategy == "epoch"
                       ? static_cast<int64_t>(std::ceil(config.saving.eval_delay *
                                                        static_cast<double>(steps_per_epoch)))
                       : static_cast<int64_t>(config.saving.eval_delay);
  return plan;
}

BatchPlan make_batch_plan(const RunConfig& config) {
  BatchPlan plan;
  plan.rows_per_micro_batch = config.training.per_device_train_batch_size;
  plan.micro_batches_per_step = config.training.gradient_accumulation_steps;
  plan.seed = static_cast<uint64_t>(config.data.data_seed.value_or(config.run.seed));
  plan.shuffled = !config.data.disable_shuffling;
  plan.drop_last = config.data.dataloader_drop_last;
  plan.group_by_length = config.data.group_by_length;
  return plan;
}

bool logs_after(const RunPlan& plan, int64_t steps_done) {
  return is_multiple(steps_done, plan.log_every) || steps_done == plan.total_steps ||
         (plan.log_first && steps_done == 1);
}

bool evaluates_after(const RunPlan& plan, int64_t steps_done) {
  return is_multiple(steps_done, plan.eval_every) && steps_done >= plan.eval_from;
}

bool saves_after(const RunPlan& plan, int64_t steps_done) {
  return is_multiple(steps_done, plan.save_every);
}

double epochs_after(const RunPlan& plan, int64_t steps_done) {
  return static_cast<double>(steps_done) / static_cast<double>(plan.steps_per_epoch);
}

}  // namespace isogrid
