#include "trainer/run_summary.h"

#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "configs/reference.h"
#include "core/error.h"
#include "core/format.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/process_memory.h"
#include "trainer/records/report.h"
#include "trainer/records/results.h"
#include "trainer/records/run_facts.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

std::string count_text(int64_t count) { return with_commas(static_cast<uint64_t>(count)); }

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %%", 100 * share);
  return text;
}

std::string type_text(at::ScalarType type) {
  if (type == at::kBFloat16) return "bfloat16";
  if (type == at::kHalf) return "float16";
  return type == at::kDouble ? "float64" : "float32";
}

std::vector<TableRow> memory_rows(const MemoryPlan& memory) {
  std::vector<TableRow> rows;
  for (const auto& [name, bytes] : memory.parts)
    rows.push_back({name, human_bytes(static_cast<uint64_t>(bytes))});
  rows.push_back({"planned", human_bytes(static_cast<uint64_t>(memory.total()))});
  rows.push_back({"measured peak", human_bytes(static_cast<uint64_t>(peak_resident_bytes()))});
  return rows;
}

std::vector<TableRow> data_rows(const DataReport& data) {
  std::vector<TableRow> rows = {
      {"examples", count_text(data.train.examples)},
      {"rows", count_text(data.train.rows)},
      {"tokens", count_text(data.train.tokens)},
      {"trained tokens", count_text(data.train.label_tokens)},
      {"longest row", count_text(data.train.longest_row)},
      {"template", data.chat_template.empty() ? "none" : data.chat_template}};
  if (data.train.packed)
    rows.push_back({"packing efficiency", percent(data.train.packing_efficiency())});
  return rows;
}

std::string seconds_text(double seconds) { return human_seconds(seconds); }

RunResults results_of(const Run& run, const DataReport& data,
                      const std::optional<EvalRecord>& evaluation,
                      const std::string& stopped_because) {
  RunResults results;
  results.epoch = epochs_after(run.plan, run.progress.step);
  results.steps = run.progress.step;
  results.total_steps = run.plan.total_steps;
  if (run.progress.updates > 0)
    results.train_loss = run.progress.loss_sum / static_cast<double>(run.progress.updates);
  results.train_seconds = run.progress.train_seconds;
  results.train_samples = run.progress.rows;
  results.tokens = run.progress.tokens;
  if (evaluation)
    results.eval = EvalResults{.loss = evaluation->loss,
                               .perplexity = evaluation->perplexity,
                               .samples = data.eval.empty() ? 0 : data.eval.front().examples,
                               .batches = 0,
                               .seconds = evaluation->eval_seconds};
  results.best_step = run.progress.best_step;
  results.best_metric = run.progress.best_metric;
  if (run.progress.best_step > 0)
    results.best_checkpoint = concat("checkpoint-", run.progress.best_step);
  results.stopped_because = stopped_because;
  return results;
}

Report report_of(Run& run, const DataReport& data, const MemoryPlan& memory,
                 const RunResults& results, std::vector<LogRow> rows) {
  Report report;
  const std::filesystem::path output(run.config.run.output_dir);
  report.title = output.filename().string();
  report.subtitle = concat(results.stopped_because.empty() ? "finished" : results.stopped_because,
                           " after ", results.steps, " of ", results.total_steps, " steps in ",
                           seconds_text(run.progress.train_seconds));
  const auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4f", value);
    return std::string(text);
  };
  report.figures.push_back({"last loss", number(run.last_loss)});
  if (results.eval) {
    report.figures.push_back({"evaluation loss", number(results.eval->loss)});
    report.figures.push_back({"perplexity", number(results.eval->perplexity)});
  }
  if (run.progress.train_seconds > 0)
    report.figures.push_back(
        {"tokens/s", human_count(static_cast<uint64_t>(static_cast<double>(run.progress.tokens) /
                                                       run.progress.train_seconds))});
  report.rows = std::move(rows);
  report.sections = {{"Data", data_rows(data)}, {"Memory", memory_rows(memory)}};
  report.settings = config_as_yaml(run.config);
  return report;
}

EnvironmentFacts environment_of(const Run& run, const std::string& run_id) {
  EnvironmentFacts facts;
  facts.run_id = run_id;
  facts.libtorch = TORCH_VERSION;
  facts.threads = {{"compute", at::get_num_threads()}};
  facts.more = {{"compute type", type_text(run.opened.training.model.compute)},
                {"device", run.opened.training.model.device.str()}};
  return facts;
}

DataFacts data_facts(const DataReport& report) {
  DataFacts facts;
  for (const DatasetReport& dataset : report.datasets)
    for (const DatasetReport::File& file : dataset.files)
      facts.files.push_back(
          {.name = file.path, .bytes = file.bytes, .sha256 = file.sha256, .rows = file.records});
  facts.tokenizer_sha256 = report.tokenizer_sha256;
  facts.template_name = report.chat_template;
  facts.counts = {{"examples", report.train.examples},
                  {"rows", report.train.rows},
                  {"tokens", report.train.tokens},
                  {"trained_tokens", report.train.label_tokens},
                  {"dropped_tokens", report.train.dropped_tokens}};
  return facts;
}

ModelFacts model_facts(Run& run) {
  const Publication& publication = run.opened.publication;
  ModelFacts facts;
  facts.name = publication.base_name;
  facts.architecture = run.opened.training.model.config.architecture;
  facts.parameters = parameter_count(run.opened.training.model);
  facts.trainable = run.opened.training.trainables.elements;
  facts.shapes_sha256 = run.provenance.model_fingerprint;
  if (publication.base_weights != nullptr)
    for (const auto& file : publication.base_weights->files())
      facts.files.push_back(
          {.name = file->name(), .bytes = file->file_size(), .sha256 = "", .sampled = true});
  return facts;
}

}  // namespace

std::vector<TableRow> start_table_rows(Run& run, const DataReport& data, const MemoryPlan& memory) {
  Training& training = run.opened.training;
  const RunConfig& config = run.config;
  const BatchPlan batches = make_batch_plan(config);
  const int64_t parameters = parameter_count(training.model);
  const double share = static_cast<double>(training.trainables.elements) /
                       static_cast<double>(std::max<int64_t>(1, parameters));
  return {
      {"model", concat(run.opened.publication.base_name, ", ",
                       human_count(static_cast<uint64_t>(parameters)), " parameters, ",
                       type_text(training.model.compute))},
      {"training", concat(config.finetuning.finetuning_type, ", ",
                          human_count(static_cast<uint64_t>(training.trainables.elements)),
                          " parameters (", percent(share), ")")},
      {"data", concat(count_text(data.train.examples), " examples in ", count_text(data.train.rows),
                      " rows, ", count_text(data.train.tokens), " tokens, ",
                      count_text(data.train.label_tokens), " trained")},
      {"schedule", concat(count_text(run.plan.total_steps), " steps of ",
                          batches.rows_per_micro_batch * batches.micro_batches_per_step, " rows, ",
                          config.optimizer.lr_scheduler_type, " from ",
                          config.optimizer.learning_rate, ", ", config.optimizer.optim)},
      {"memory", concat(human_bytes(static_cast<uint64_t>(memory.total())), " planned, ",
                        human_bytes(static_cast<uint64_t>(available_memory(training.model.device))),
                        " free", memory.recomputes ? ", blocks are recomputed" : "")},
      {"output", config.run.output_dir},
  };
}

void write_facts(Run& run, const DataReport& data, const std::string& run_id) {
  write_run_facts(run.config.run.output_dir, environment_of(run, run_id), data_facts(data),
                  model_facts(run), config_as_yaml(run.config));
}

void write_summary(Run& run, const DataReport& data, const MemoryPlan& memory,
                   const std::optional<EvalRecord>& evaluation,
                   const std::string& stopped_because) {
  const std::string& output = run.config.run.output_dir;
  const RunResults results = results_of(run, data, evaluation, stopped_because);
  write_results(output, results);
  const std::vector<LogRow> rows =
      read_training_log((std::filesystem::path(output) / kTrainerLogName).string());
  StateSettings settings;
  settings.logging_steps = run.config.saving.logging_steps;
  settings.save_steps = run.config.saving.save_steps;
  settings.eval_steps = run.config.saving.eval_steps;
  settings.epochs = run.config.training.num_train_epochs;
  settings.train_batch_size = run.config.training.per_device_train_batch_size;
  write_trainer_state(output, results, settings, rows);
  write_report(output, report_of(run, data, memory, results, rows));
}

}  // namespace isogrid
