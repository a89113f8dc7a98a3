#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "configs/reference.h"
#include "core/error.h"
#include "core/format.h"
#include "core/log.h"
#include "data/rows.h"
#include "trainer/commands/commands.h"
#include "trainer/data_coding.h"
#include "trainer/open_model.h"
#include "trainer/provenance.h"
#include "trainer/run.h"
#include "trainer/run_directory/stop_signal.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

constexpr int kStoppedEarly = static_cast<int>(ExitCode::stopped_early);

std::string type_text(at::ScalarType type) {
  if (type == at::kBFloat16) return "bfloat16";
  if (type == at::kHalf) return "float16";
  return type == at::kDouble ? "float64" : "float32";
}

/// Progress of reading and tokenising, one line for each piece of work.
class PreparationLine {
 public:
  DataHooks hooks() {
    DataHooks hooks;
    hooks.stop = StopSignal::requested;
    hooks.progress = [this](std::string_view what, int64_t done, int64_t total) {
      if (!line_ || what_ != what) line_.emplace(what_ = what, total);
      line_->show(done);
    };
    return hooks;
  }

 private:
  std::string what_;
  std::optional<ProgressLine> line_;
};

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

std::vector<TableRow> start_rows(const RunConfig& config, const Run& run,
                                 const PreparedData& data) {
  const Training& training = run.opened.training;
  int64_t parameters = 0;
  CausalLm& model = const_cast<CausalLm&>(training.model);
  model.visit([&](const TensorSlot& slot) { parameters += slot.tensor->numel(); });
  const BatchPlan batches = make_batch_plan(config);
  const double share = 100.0 * static_cast<double>(training.trainables.elements) /
                       static_cast<double>(std::max<int64_t>(1, parameters));
  char share_text[32];
  std::snprintf(share_text, sizeof share_text, "%.2f %%", share);
  const auto count = [](int64_t n) { return with_commas(static_cast<uint64_t>(n)); };
  return {
      {"model", concat(run.opened.publication.base_name, ", ",
                       human_count(static_cast<uint64_t>(parameters)), " parameters, ",
                       type_text(training.model.compute))},
      {"training", concat(config.finetuning.finetuning_type, ", ",
                          human_count(static_cast<uint64_t>(training.trainables.elements)),
                          " parameters (", share_text, ")")},
      {"data", concat(count(data.report.train.examples), " examples in ",
                      count(data.report.train.rows), " rows, ", count(data.report.train.tokens),
                      " tokens, ", count(data.report.train.label_tokens), " trained")},
      {"schedule", concat(count(run.plan.total_steps), " steps of ",
                          batches.rows_per_micro_batch * batches.micro_batches_per_step, " rows, ",
                          config.optimizer.lr_scheduler_type, " from ",
                          config.optimizer.learning_rate, ", ", config.optimizer.optim)},
      {"output", config.run.output_dir},
  };
}

void publish(Run& run, const std::string& directory) {
  for (const FileToWrite& file : publication_files(run.opened.training, run.opened.publication))
    write_file_durably((std::filesystem::path(directory) / file.name).string(), file.size,
                       file.produce);
}

/// The best checkpoint's weights in place of the last ones.
void return_to_best(Run& run) {
  if (!run.config.saving.load_best_model_at_end || run.progress.best_step == 0 ||
      run.progress.best_step == run.progress.step)
    return;
  load_masters(run.checkpoints.path_of(run.progress.best_step), run.opened.training,
               run.opened.publication);
  run.display.note(concat("the best evaluation was after step ", run.progress.best_step,
                          "; that checkpoint is the result"));
}

int finish(Run& run, const RunConfig& config) {
  return_to_best(run);
  publish(run, config.run.output_dir);
  run.display.clear();
  run.display.note(concat("done: ", run.progress.step, " steps, ", human_seconds(run.seconds),
                          "; the ", run.opened.publication.is_adapter ? "adapter" : "model",
                          " is in ", config.run.output_dir));
  return 0;
}

}  // namespace

int run_train(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  check_trainable(config);
  const StopSignal stop;
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  const ModelFolder folder = open_model_folder(model_folder_path(config));
  const DataCoding coding = open_data_coding(config);
  RunDirectory directory(config.run.output_dir, config.run.overwrite_output_dir);
  CheckpointStore checkpoints(directory.directory(), directory.run_id());
  PreparationLine line;
  PreparedData data = prepare_data(config, coding.coder, *coding.layout, line.hooks());
  if (!config.training.do_train) return 0;

  TrainingDisplay display;
  OpenedTraining opened = open_training(config, folder);
  auto batches = std::make_unique<BatchStream>(data.train, make_batch_plan(config));
  const RunPlan plan = make_run_plan(config, batches->steps_per_epoch(), !data.eval.empty());
  opened.training.schedule = make_schedule(config.optimizer, plan.total_steps);
  Provenance provenance = provenance_of(config, opened.publication.base_weights.get());
  provenance.data_fingerprint = data.report.train_fingerprint;
  provenance.tokenizer_hash = data.report.tokenizer_sha256;
  provenance.chat_template = data.report.chat_template;

  Progress progress;
  if (const auto path = checkpoint_to_resume(config, checkpoints)) {
    progress = load_state(*path, opened.training, opened.publication, provenance);
    checkpoints.set_aside_after(progress.step);
    log_info(concat("going on from ", *path));
  }
  RunLog log({.output_dir = config.run.output_dir,
              .tensorboard_dir = config.tracking.logging_dir.value_or(""),
              .resume_step = progress.step});
  Run run{.config = config,
          .opened = std::move(opened),
          .batches = std::move(batches),
          .eval = data.eval,
          .plan = plan,
          .progress = progress,
          .provenance = std::move(provenance),
          .checkpoints = checkpoints,
          .log = log,
          .display = display};
  run.work = work_of(run.opened.training.model);
  run.roof = measured_roof(run.opened.training.model.compute, run.opened.training.model.device);
  display.table("Training", start_rows(config, run, data));
  if (progress.step >= plan.total_steps) {
    display.note(concat("already complete: ", progress.step, " steps are done"));
    return finish(run, config);
  }
  display.begin(progress.step);
  if (run_to_end(run) == RunEnd::stopped) return kStoppedEarly;
  return finish(run, config);
}

}  // namespace isogrid
