#include "trainer/run.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "core/phase.h"
#include "models/rounding.h"
#include "trainer/average.h"
#include "trainer/evaluate.h"
#include "trainer/guard.h"
#include "trainer/run_directory/stop_signal.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double work_of_step(const Run& run, int64_t step) {
  double work = 0;
  for (int64_t m = 0; m < run.batches->micro_batches(step); ++m)
    work += work_of_batch(run.work, run.batches->at(step, m));
  return work;
}

StepRecord record_of(Run& run, const StepReport& report, double seconds, bool logged) {
  const int64_t step = run.progress.step - 1;
  StepRecord record;
  record.step = run.progress.step;
  record.total_steps = run.plan.total_steps;
  record.epoch = epochs_after(run.plan, run.progress.step);
  record.loss = report.loss;
  record.loss_float32 = static_cast<float>(report.loss);
  record.grad_norm = report.grad_norm;
  record.learning_rate = report.learning_rate;
  record.tokens = run.progress.tokens;
  record.tokens_per_second = static_cast<double>(run.batches->tokens(step)) / seconds;
  if (run.roof > 0) {
    const double speed = work_of_step(run, step) / seconds;
    run.roof = std::max(run.roof, speed);  // it was measured while the machine did other work
    record.share_of_roof = speed / run.roof;
  }
  record.seconds = run.seconds;
  if (logged) record.order_hash = order_hash(run.batches->sample_ids(step));
  if (run.opened.training.loss_scale.on) record.loss_scale = run.opened.training.loss_scale.value;
  record.skipped = !report.updated;
  return record;
}

void advance(Run& run, const StepReport& report) {
  const int64_t step = run.progress.step;
  ++run.progress.step;
  run.progress.rows = run.batches->rows_before(run.progress.step);
  run.progress.tokens += run.batches->tokens(step);
  if (!report.updated) return;
  run.progress.loss_sum += report.loss;
  ++run.progress.updates;
}

Json bad_step_details(const Run& run, const StepReport& report, int64_t step) {
  return {{"loss", std::isfinite(report.loss) ? Json(report.loss) : Json("not finite")},
          {"first_tensor", report.first_bad_tensor},
          {"sample_ids", run.batches->sample_ids(step)}};
}

/// The state before the bad step is good: it is committed, then the run ends.
[[noreturn]] void end_for_numbers(Run& run, const StepReport& report) {
  const int64_t step = run.progress.step;
  run.log.event("non_finite", step + 1, bad_step_details(run, report, step));
  if (step > 0) save_checkpoint(run);
  run.display.clear();
  fail(ExitCode::numeric, "step ", step + 1, ": ",
       std::isfinite(report.loss) ? "a gradient is not finite" : "the loss is not finite",
       report.first_bad_tensor.empty() ? "" : concat("; first in ", report.first_bad_tensor),
       ". Nothing was updated", step > 0 ? concat("; the state of step ", step, " is saved") : "",
       ". A lower learning_rate, max_grad_norm or bf16 may help; the examples are named in "
       "events.jsonl");
}

bool is_better(const Run& run, double metric) {
  if (!run.progress.best_metric) return true;
  return run.config.saving.greater_is_better.value_or(false) ? metric > *run.progress.best_metric
                                                             : metric < *run.progress.best_metric;
}

/// Keeps the books on the best evaluation; a best that the run may have to return to is saved.
void judge_evaluation(Run& run, const EvalRecord& record) {
  run.progress.evaluated_step = record.step;
  if (!is_better(run, record.loss)) {
    ++run.progress.evaluations_without_gain;
    return;
  }
  run.progress.best_metric = record.loss;
  run.progress.best_step = record.step;
  run.progress.evaluations_without_gain = 0;
  if (run.config.saving.load_best_model_at_end || run.config.saving.save_strategy == "best")
    save_checkpoint(run);
}

bool is_to_end_early(const Run& run) {
  const auto& patience = run.config.saving.early_stopping_steps;
  return patience && run.progress.evaluations_without_gain >= *patience;
}

/// Also true at the start of an attempt, where the one before was stopped in its evaluation.
bool evaluation_is_due(const Run& run) {
  const int64_t step = run.progress.step;
  if (run.eval.empty() || run.progress.evaluated_step >= step) return false;
  return step == 0 ? run.config.saving.eval_on_start : evaluates_after(run.plan, step);
}

/// False: a signal came during the evaluation.
bool evaluate_in_run(Run& run) {
  EvalRecord record;
  if (!evaluate_run(run, record)) return false;
  run.log.evaluation(record);
  run.trackers.evaluation(record);
  run.display.evaluation(record);
  run.last_evaluation = record;
  judge_evaluation(run, record);
  return true;
}

RunEnd stop_run(Run& run) {
  save_checkpoint(run);
  run.display.note(concat(StopSignal::signal_name(), ": stopped after step ", run.progress.step,
                          " of ", run.plan.total_steps,
                          ". The state is saved; start the same command again to go on."));
  return RunEnd::stopped;
}

/// One step with its books and its row in the log.
void step_and_log(Run& run) {
  set_phase(concat("step ", run.progress.step + 1, " of ", run.plan.total_steps));
  const auto start = Clock::now();
  begin_step(run.opened.training.model, {run.progress.step, run.plan.total_steps});
  if (watch_magnitudes(run.opened.training, run.progress.step)) {
    run.log.event("magnitudes_snapped", run.progress.step, Json::object());
    run.display.note(concat("magnitudes have settled: rounded to float16 and held from step ",
                            run.progress.step + 1, " on"));
  }
  const StepReport report = run_step(run.opened.training, *run.batches, run.progress.step);
  const double seconds = seconds_since(start);
  run.seconds += seconds;
  run.progress.train_seconds += seconds;
  const Verdict verdict =
      judge_step(report, run.config.optimizer.non_finite, run.opened.training, run.progress);
  if (verdict == Verdict::stop) end_for_numbers(run, report);
  if (verdict == Verdict::skipped)
    run.log.event("skipped_step", run.progress.step + 1,
                  bad_step_details(run, report, run.progress.step));
  advance(run, report);
  run.last_loss = report.loss;
  const bool logged = logs_after(run.plan, run.progress.step);
  const StepRecord record = record_of(run, report, seconds, logged);
  if (logged) {
    run.log.step(record);
    run.trackers.step(record);
  }
  run.display.step(record, logged);
}

}  // namespace

void save_checkpoint(Run& run) {
  set_phase(concat("saving step ", run.progress.step));
  if (run.config.saving.save_strategy == "no" && !StopSignal::requested()) return;
  if (!state_is_finite(run.opened.training))
    fail(ExitCode::numeric, "step ", run.progress.step,
         ": a weight or a moment is not finite; such a state is never saved");
  run.log.make_durable();
  Training& training = run.opened.training;
  std::vector<FileToWrite> files;
  if (!run.config.saving.save_only_model)
    files = state_files(training, run.opened.publication, run.progress, run.provenance);
  CheckpointFacts facts;
  facts.step = run.progress.step;
  facts.config_hash = settings_hash(run.provenance);
  facts.data_fingerprint = run.provenance.data_fingerprint;
  for (FileToWrite& file : publication_files(training, run.opened.publication))
    files.push_back(std::move(file));
  run.checkpoints.commit(facts, files);
  Retention retention;
  retention.limit = run.config.saving.save_total_limit;
  if (run.progress.best_step > 0) retention.exempt.insert(run.progress.best_step);
  run.checkpoints.retain(retention);
}

bool evaluate_run(Run& run, EvalRecord& record) {
  set_phase("evaluation");
  const auto start = Clock::now();
  const AveragedWeights averaged(run.opened.training);
  EvaluationMeans means;
  const std::optional<Distillation>& distillation = run.opened.training.pass.distillation;
  const auto kd = distillation ? std::optional(distillation->settings) : std::nullopt;
  run.display.clear();
  for (const EvalRows& rows : run.eval) {
    ProgressLine line(rows.name.empty() ? "Evaluating" : "Evaluating " + rows.name,
                      rows.rows->rows());
    const auto result = evaluate(
        run.opened.training.model, rows.rows, run.config.training.per_device_eval_batch_size, kd,
        StopSignal::requested, [&](int64_t done, int64_t) { line.show(done); });
    if (!result) return false;
    means.add(*result);
  }
  const Evaluation mean = means.result();
  record.step = run.progress.step;
  record.total_steps = run.plan.total_steps;
  record.epoch = epochs_after(run.plan, run.progress.step);
  record.loss = mean.divergence.value_or(mean.loss);
  record.perplexity = std::exp(mean.loss);
  if (mean.divergence) record.label_loss = mean.loss;
  record.agreement = mean.agreement;
  record.tokens = mean.label_tokens;
  record.eval_seconds = seconds_since(start);
  record.seconds = run.seconds;
  return true;
}

RunEnd run_to_end(Run& run) {
  if (evaluation_is_due(run) && !evaluate_in_run(run)) return stop_run(run);
  while (run.progress.step < run.plan.total_steps && !is_to_end_early(run)) {
    if (StopSignal::requested()) return stop_run(run);
    step_and_log(run);
    if (evaluation_is_due(run) && !evaluate_in_run(run)) return stop_run(run);
    if (is_to_end_early(run)) break;
    if (saves_after(run.plan, run.progress.step) && run.progress.step < run.plan.total_steps)
      save_checkpoint(run);
  }
  save_checkpoint(run);
  return RunEnd::finished;
}

}  // namespace isogrid
