#include <ATen/Parallel.h>

#include <filesystem>
#include <optional>

#include "core/error.h"
#include "core/format.h"
#include "core/log.h"
#include "core/phase.h"
#include "data/rows.h"
#include "trainer/buffer_cache.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/evaluate.h"
#include "trainer/open_model.h"
#include "trainer/provenance.h"
#include "trainer/records/trackers.h"
#include "trainer/run.h"
#include "trainer/run_directory/stop_signal.h"
#include "trainer/run_summary.h"

namespace isogrid {
namespace {

void check_trainable(const RunConfig& config) {
  if (config.data.dataset.empty())
    fail(ExitCode::configuration,
         "dataset: is missing; name datasets of dataset_info.json, or files");
}

/// The checkpoint to go on from: the one named, else the newest of this folder.
std::optional<std::string> checkpoint_to_resume(const RunConfig& config, CheckpointStore& store) {
  const std::string wish = config.saving.resume_from_checkpoint.value_or("true");
  if (wish == "false") {
    if (!store.steps().empty())
      fail(ExitCode::locked, config.run.output_dir, ": holds checkpoints up to step ",
           store.steps().front(),
           ", and resume_from_checkpoint is false; give overwrite_output_dir: true to start "
           "afresh, or another output_dir");
    return std::nullopt;
  }
  if (wish != "true") {
    verify_checkpoint(wish);
    return wish;
  }
  const auto newest = store.newest();
  if (newest) return newest->path;
  if (config.saving.resume_from_checkpoint)
    fail(ExitCode::missing_input, "resume_from_checkpoint: ", config.run.output_dir,
         " holds no checkpoint");
  return std::nullopt;
}

void publish(Run& run) {
  const std::filesystem::path output(run.config.run.output_dir);
  for (const FileToWrite& file : publication_files(run.opened.training, run.opened.publication))
    write_file_durably((output / file.name).string(), file.size, file.produce);
}

/// The best checkpoint's weights in place of the last ones, where that is wanted.
void return_to_best(Run& run) {
  if (!run.config.saving.load_best_model_at_end || run.progress.best_step == 0 ||
      run.progress.best_step == run.progress.step)
    return;
  run.last_evaluation.reset();
  load_masters(run.checkpoints.path_of(run.progress.best_step), run.opened.training,
               run.opened.publication);
  run.display.note(concat("the best evaluation was after step ", run.progress.best_step,
                          "; that checkpoint is the result"));
}

std::optional<EvalRecord> final_evaluation(Run& run) {
  const bool wanted = run.config.training.do_eval || run.plan.eval_every > 0;
  if (run.last_evaluation && run.last_evaluation->step == run.progress.step)
    return run.last_evaluation;
  EvalRecord record;
  if (!wanted || run.eval.empty() || !evaluate_run(run, record)) return std::nullopt;
  run.log.evaluation(record);
  run.trackers.evaluation(record);
  run.display.evaluation(record);
  return record;
}

int finish(Run& run, const PreparedData& data, const MemoryPlan& memory) {
  return_to_best(run);
  const std::optional<EvalRecord> evaluation = final_evaluation(run);
  publish(run);
  run.log.make_durable();
  write_summary(run, data.report, memory, evaluation,
                run.progress.step < run.plan.total_steps ? "stopped early" : "");
  run.trackers.finish(/*succeeded=*/true);
  run.display.clear();
  run.display.note(concat("done: ", run.progress.step, " steps in ",
                          human_seconds(run.progress.train_seconds), "; the ",
                          run.opened.publication.is_adapter ? "adapter" : "model", " is in ",
                          run.config.run.output_dir));
  return 0;
}

int stopped(Run& run, const PreparedData& data, const MemoryPlan& memory) {
  write_summary(run, data.report, memory, std::nullopt, "stopped");
  run.trackers.finish(/*succeeded=*/false, /*seconds=*/2);
  return static_cast<int>(ExitCode::stopped_early);
}

PreparedData prepare_rows(const RunConfig& config, const DataCoding& coding) {
  DataProgress progress(config);
  return prepare_data(config, coding.coder, *coding.layout, progress.hooks());
}

Provenance full_provenance(const RunConfig& config, const Publication& publication,
                           const DataReport& data) {
  Provenance provenance = provenance_of(config, publication.base_weights.get());
  provenance.data_fingerprint = data.train_fingerprint;
  provenance.tokenizer_hash = data.tokenizer_sha256;
  provenance.chat_template = data.chat_template;
  return provenance;
}

}  // namespace

int run_train(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  check_trainable(config);
  keep_freed_buffers();
  const StopSignal signals;
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  const ModelFolder folder = open_model_folder(model_folder_path(config));
  const DataCoding coding = open_data_coding(config);
  RunDirectory directory(config.run.output_dir, config.run.overwrite_output_dir);
  CheckpointStore checkpoints(directory.directory(), directory.run_id());
  const PreparedData data = prepare_rows(config, coding);

  auto batches = std::make_unique<BatchStream>(data.train, make_batch_plan(config));
  const RunPlan plan = make_run_plan(config, batches->steps_per_epoch(), !data.eval.empty());
  const MemoryPlan memory = memory_plan_that_fits(
      config, sizes_before_loading(config, folder, *batches, plan), available_memory());
  if (!config.training.do_train) return 0;

  set_phase("loading the model");
  OpenedTraining opened = open_training(config, folder);
  opened.training.schedule = make_schedule(config.optimizer, plan.total_steps);
  opened.training.pass.recompute_blocks = memory.recomputes;
  const Provenance provenance = full_provenance(config, opened.publication, data.report);
  Progress progress;
  if (const auto path = checkpoint_to_resume(config, checkpoints)) {
    progress = load_state(*path, opened.training, opened.publication, provenance);
    checkpoints.go_on_from(progress.step);
    log_info(concat("going on from ", *path));
  }
  RunLog log({.output_dir = config.run.output_dir,
              .tensorboard_dir = config.tracking.logging_dir.value_or(""),
              .resume_step = progress.step,
              .attempt = directory.attempt()});
  TrainingDisplay display;
  Json settings = provenance.settings;
  Trackers trackers(config.tracking,
                    {.output_dir = config.run.output_dir,
                     .run_id = directory.run_id(),
                     .default_name = std::filesystem::path(config.run.output_dir).filename(),
                     .config = &settings});
  Run run{.config = config,
          .opened = std::move(opened),
          .batches = std::move(batches),
          .eval = data.eval,
          .plan = plan,
          .progress = progress,
          .provenance = provenance,
          .checkpoints = checkpoints,
          .log = log,
          .display = display,
          .trackers = trackers};
  run.work = work_of(run.opened.training.model);
  run.roof = measured_roof(run.opened.training.model.compute, run.opened.training.model.device);
  write_facts(run, data.report, directory.run_id());
  display.table("Training", start_table_rows(run, data.report, memory));
  if (progress.step >= plan.total_steps) {
    display.note(concat("already complete: ", progress.step, " steps are done"));
    return finish(run, data, memory);
  }
  display.begin(progress.step);
  if (run_to_end(run) == RunEnd::stopped) return stopped(run, data, memory);
  return finish(run, data, memory);
}

}  // namespace isogrid
