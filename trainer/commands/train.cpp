#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "core/error.h"
#include "core/format.h"
#include "core/json.h"
#include "core/log.h"
#include "core/phase.h"
#include "data/kd_rows.h"
#include "models/registry.h"
#include "models/rounding.h"
#include "trainer/buffer_cache.h"
#include "trainer/commands/calibrated_base.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/commands/export_run.h"
#include "trainer/commands/other_model.h"
#include "trainer/commands/upload.h"
#include "trainer/data_coding.h"
#include "trainer/disk_plan.h"
#include "trainer/evaluate.h"
#include "trainer/open_model.h"
#include "trainer/provenance.h"
#include "trainer/records/trackers.h"
#include "trainer/run.h"
#include "trainer/run_directory/stop_signal.h"
#include "trainer/run_summary.h"

namespace isogrid {
namespace {

/// Settings of an anchor do nothing without one, those of a distillation nothing without a teacher.
void check_keys_have_effect(const RunConfig& config) {
  for (const auto& [key, place] : config.places) {
    const bool of_anchor = key.starts_with("kd_anchor");
    if (!key.starts_with("kd_") || (of_anchor ? config.kd.kd_anchor : config.kd.kd_cache)) continue;
    fail(ExitCode::configuration, place, ": ", key, ": has no effect without ",
         of_anchor ? "kd_anchor; give start or the folder of a model"
                   : "kd_cache; give the folder trainer kd-cache wrote",
         ", or leave it out");
  }
}

void check_distillation(const RunConfig& config) {
  const KdConfig& kd = config.kd;
  check_keys_have_effect(config);
  if (!kd.kd_cache) return;
  if (kd.kd_weight + kd.kd_ce_weight + kd.kd_hard_top1 + kd.kd_hard_top1_end.value_or(0) +
          kd.kd_hard_full + kd.kd_sampled_ce ==
      0)
    fail(ExitCode::configuration,
         "kd_weight, kd_ce_weight, kd_hard_top1, kd_hard_full and kd_sampled_ce are 0: there is "
         "nothing to learn");
  if (kd.kd_sampled_ce > 0 && kd.kd_loss != "a")
    fail(ExitCode::configuration, "kd_sampled_ce = ", kd.kd_sampled_ce,
         " and kd_loss = ", kd.kd_loss,
         ": only loss a draws tokens of its own; leave kd_sampled_ce out, or set kd_loss: a");
  if (kd.kd_sampled_ce == 0 && config.is_given("kd_sampled_negatives"))
    fail(ExitCode::configuration,
         "kd_sampled_negatives: has no effect without kd_sampled_ce; give both, or neither");
  if (config.training.label_smoothing_factor > 0)
    fail(ExitCode::configuration,
         "label_smoothing_factor = ", config.training.label_smoothing_factor,
         " and kd_cache: the teacher's own distribution is the target; leave one out");
}

/// They are drawn without repeats.
void check_sampled_tokens(const RunConfig& config, const RowStore& rows, int64_t vocabulary) {
  if (config.kd.kd_sampled_ce == 0 || rows.teacher() == nullptr) return;
  const int64_t top_k = rows.teacher()->cache().meta().top_k;
  if (top_k + config.kd.kd_sampled_negatives > vocabulary)
    fail(ExitCode::configuration, "kd_sampled_negatives = ", config.kd.kd_sampled_negatives,
         ": with the cache's ", top_k, " guesses they are more than the vocabulary's ", vocabulary,
         " tokens");
}

void check_trainable(const RunConfig& config) {
  if (config.data.dataset.empty() && !config.kd.kd_cache)
    fail(ExitCode::configuration,
         "dataset: is missing; name datasets of dataset_info.json, or files, or a kd_cache");
  check_upload(config.exporting);
  check_distillation(config);
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

/// overwrite_output_dir replaces a finished run, and one of other settings. What was interrupted
/// goes on: a job that is started again by its scheduler, with the same file, loses nothing.
bool starts_afresh(const RunConfig& config) {
  if (!config.run.overwrite_output_dir) return false;
  if (config.saving.resume_from_checkpoint == "false") return true;
  const std::vector<std::string> checkpoints = checkpoints_of_unfinished_run(config.run.output_dir);
  const Provenance now = provenance_of(config, nullptr);
  const auto is_ours = [&](const std::string& checkpoint) {
    return was_saved_with(checkpoint, now);
  };
  if (std::none_of(checkpoints.begin(), checkpoints.end(), is_ours)) return true;
  log_info(concat("overwrite_output_dir: ", config.run.output_dir,
                  " holds this very run, unfinished, so it goes on; resume_from_checkpoint: false "
                  "starts afresh"));
  return false;
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
  load_masters(run.checkpoints.path_of(run.progress.best_step), run.progress.best_step,
               run.opened.training, run.opened.publication);
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

void upload_result(Run& run, const std::string& folder) {
  if (!run.config.exporting.push_to_hub) return;
  run.display.note("uploading");
  run.display.note("uploaded to " + upload_folder(folder, run.config.exporting));
  run.trackers.figures(run.progress.step, {{"export/uploaded", 1}});
}

/// export_formats of a training file: what the run has made, for other programs, without a
/// question.
void export_result(Run& run) {
  if (run.config.exporting.export_formats.empty())
    return upload_result(run, run.config.run.output_dir);
  run.display.note("exporting");
  const RunConfig wanted = export_of_result(run.config, run.opened.publication.is_adapter);
  const ExportReport report = export_everything(wanted, [&](const ExportRecord& record) {
    const std::string name = "export/" + record.format + "/";
    Json figures = {{name + "bytes", record.bytes},
                    {name + "seconds", record.seconds},
                    {name + "failed", record.problem.empty() ? 0 : 1}};
    if (record.fidelity) figures[name + "loss"] = record.fidelity->loss;
    if (record.fidelity) figures[name + "kl"] = record.fidelity->kl;
    run.trackers.figures(run.progress.step, figures);
    run.display.note(concat(record.format, ": ", record.path));
  });
  require_sound(report);
  upload_result(run, *wanted.exporting.export_dir);
}

int finish(Run& run, const PreparedData& data, const MemoryPlan& memory) {
  return_to_best(run);
  const std::optional<EvalRecord> evaluation = final_evaluation(run);
  publish(run);
  run.log.make_durable();
  write_summary(run, data.report, memory, evaluation,
                run.progress.step < run.plan.total_steps ? "stopped early" : "");
  export_result(run);
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

/// Everything a run needs that is known before a weight is read.
struct PreparedRun {
  ModelFolder folder;
  PreparedData data;
  std::unique_ptr<BatchStream> batches;
  RunPlan plan;
  MemoryPlan memory;
};

/// The day a run began. Templates that tell the model the date tell it this one, also when the run
/// goes on later: the rows stay the same.
Day first_day(const std::string& created) {
  Day day;
  const int parts = std::sscanf(created.c_str(), "%d-%d-%d", &day.year, &day.month, &day.day);
  return parts == 3 ? day : local_day();
}

PreparedData prepare_rows(const RunConfig& config, const Day& today) {
  set_phase("preparing the data");
  const DataCoding coding = open_data_coding(config);
  DataProgress progress(config);
  DataHooks hooks = progress.hooks();
  hooks.today = today;
  return prepare_run_data(config, coding.coder, *coding.layout, hooks);
}

PreparedRun prepare_run(const RunConfig& config, ModelFolder folder, const Day& today) {
  PreparedRun prepared;
  prepared.folder = std::move(folder);
  prepared.data = prepare_rows(config, today);
  check_teacher_ids(*prepared.data.train,
                    read_decoder_config(prepared.folder.config, prepared.folder.path).vocabulary);
  check_sampled_tokens(
      config, *prepared.data.train,
      read_decoder_config(prepared.folder.config, prepared.folder.path).vocabulary);
  prepared.batches = std::make_unique<BatchStream>(prepared.data.train, make_batch_plan(config));
  prepared.plan =
      make_run_plan(config, prepared.batches->steps_per_epoch(), !prepared.data.eval.empty());
  const RunSizes sizes =
      sizes_before_loading(config, prepared.folder, *prepared.batches, prepared.plan);
  prepared.memory = memory_plan_that_fits(config, sizes, available_memory(chosen_device(config)));
  check_disk(plan_disk(config, sizes, prepared.plan), config.run.output_dir);
  return prepared;
}

/// The rows a run is held on, read by the model of kd_anchor where that is another one: before the
/// run's own is loaded, so that there is only ever one of them. A run that goes on loads what was
/// read at its start.
std::optional<Anchor> planned_anchor(const RunConfig& config, const PreparedRun& prepared,
                                     bool goes_on) {
  const std::optional<std::string>& name = config.kd.kd_anchor;
  if (!name) return std::nullopt;
  int64_t vocabulary = vocabulary_of(config);
  const RunConfig other = with_model(config, *name);
  if (*name != kAnchorStart) {
    check_same_tokens(config, "kd_anchor", other);
    vocabulary = std::min(vocabulary, vocabulary_of(other));
  }
  Anchor anchor = plan_anchor(config.kd, static_cast<uint64_t>(config.run.seed),
                              prepared.data.train, vocabulary);
  if (*name != kAnchorStart && !goes_on) {
    set_phase("reading with the model of kd_anchor");
    read_anchor(anchor, open_model(other).model);
  }
  return anchor;
}

OpenedTraining load_training(const RunConfig& config, const PreparedRun& prepared,
                             const std::optional<std::string>& checkpoint) {
  std::optional<Anchor> anchor = planned_anchor(config, prepared, checkpoint.has_value());
  set_phase("loading the model");
  OpenedTraining opened =
      open_training(config, prepared.folder, checkpoint, prepared.batches.get());
  opened.training.schedule = make_schedule(config.optimizer, prepared.plan.total_steps);
  opened.training.pass.recompute_blocks = prepared.memory.recomputes;
  opened.training.anchor = std::move(anchor);
  return opened;
}

Provenance full_provenance(const RunConfig& config, const Publication& publication,
                           const DataReport& data) {
  Provenance provenance = provenance_of(
      config, publication.base_weights != nullptr ? publication.base.files.get() : nullptr);
  provenance.data_fingerprint = data.train_fingerprint;
  provenance.tokenizer_hash = data.tokenizer_sha256;
  provenance.chat_template = data.chat_template;
  return provenance;
}

/// Where the run stands: at its beginning, or where a checkpoint left it.
Progress resumed_progress(const RunConfig& config, const std::optional<std::string>& path,
                          CheckpointStore& checkpoints, OpenedTraining& opened,
                          const Provenance& provenance) {
  Training& training = opened.training;
  if (!path) {
    begin_step(training.model, {.total_steps = training.schedule.total});
    if (config.kd.kd_anchor == kAnchorStart) read_anchor(*training.anchor, training.model);
    return {};
  }
  const Progress progress = load_state(*path, opened.training, opened.publication, provenance);
  checkpoints.go_on_from(progress.step);
  log_info(concat("going on from ", *path));
  return progress;
}

int carry_out(Run& run, const PreparedData& data, const MemoryPlan& memory) {
  run.display.table("Training", start_table_rows(run, data.report, memory));
  if (run.progress.step >= run.plan.total_steps) {
    run.display.note(concat("already complete: ", run.progress.step, " steps are done"));
    return finish(run, data, memory);
  }
  run.display.begin(run.progress.step);
  if (run_to_end(run) == RunEnd::stopped) return stopped(run, data, memory);
  return finish(run, data, memory);
}

}  // namespace

int run_train(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  check_trainable(config);
  keep_freed_buffers();
  const StopSignal signals;
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  open_model_folder(model_folder_path(config));  // what is missing is told before anything is made
  RunDirectory directory(config.run.output_dir, starts_afresh(config));
  ModelFolder folder = open_base(config);
  CheckpointStore checkpoints(directory.directory(), directory.run_id());
  PreparedRun prepared = prepare_run(config, std::move(folder), first_day(directory.created()));
  if (!config.training.do_train) return 0;

  const auto checkpoint = checkpoint_to_resume(config, checkpoints);
  OpenedTraining opened = load_training(config, prepared, checkpoint);
  const Provenance provenance = full_provenance(config, opened.publication, prepared.data.report);
  const Progress progress = resumed_progress(config, checkpoint, checkpoints, opened, provenance);
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
          .batches = std::move(prepared.batches),
          .eval = prepared.data.eval,
          .plan = prepared.plan,
          .progress = progress,
          .provenance = provenance,
          .checkpoints = checkpoints,
          .log = log,
          .display = display,
          .trackers = trackers};
  const CausalLm& model = run.opened.training.model;
  run.work = work_of(run.opened.training.model);
  run.roof = measured_roof(model.compute, model.device);
  write_facts(run, prepared.data.report, directory.run_id());
  const int code = carry_out(run, prepared.data, prepared.memory);
  if (code == 0) directory.mark_finished();
  return code;
}

}  // namespace isogrid
