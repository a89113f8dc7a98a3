#include <ATen/Parallel.h>

#include <chrono>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"
#include "core/log.h"
#include "data/kd_rows.h"
#include "data/tokenizer/tokenizer.h"
#include "models/score.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/evaluate.h"
#include "trainer/loss/distillation.h"
#include "trainer/open_model.h"
#include "trainer/run_directory/stop_signal.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

constexpr uint64_t kLargestText = uint64_t{4} << 30;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A measurement as programs read it.
Json score_json(double loss, int64_t tokens, double seconds) {
  return {{"loss", loss},
          {"perplexity", std::exp(loss)},
          {"tokens", tokens},
          {"tokens_per_second", seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0}};
}

void print_score(double loss, int64_t tokens, double seconds, const std::string& how) {
  std::printf(
      "loss        %.6f\nperplexity  %.4f\ntokens      %lld, each scored once\n%s"
      "speed       %.0f tokens/s\n",
      loss, std::exp(loss), static_cast<long long>(tokens), how.c_str(),
      seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0);
}

void report_score(double loss, int64_t tokens, double seconds, const std::string& how,
                  bool as_json) {
  if (as_json)
    std::fputs(dump_json(score_json(loss, tokens, seconds)).c_str(), stdout);
  else
    print_score(loss, tokens, seconds, how);
}

TextScore score_with_progress(const CausalLm& model, const std::vector<int32_t>& ids,
                              const ScoringWindows& windows) {
  ProgressLine progress("scoring", static_cast<int64_t>(ids.size()) - 1);
  return score_text(model, ids, windows, [&](int64_t done, int64_t) { progress.show(done); });
}

int eval_text(const Invocation& invocation) {
  const CommandOptions& options = invocation.options;
  const ScoringWindows windows{options.eval_window, options.eval_stride};
  scored_spans(0, windows);  // refuses a bad window before the weights are read
  const std::string text = read_text_file(*options.text_file, kLargestText);
  const std::string path = model_folder_path(invocation.config);
  const std::vector<int32_t> ids = Tokenizer::load(path).encode(text);
  if (ids.size() < 2)
    fail(ExitCode::refused_input, *options.text_file, ": has ", ids.size(),
         " tokens; a loss needs at least 2");
  const OpenedModel opened = open_model(invocation.config);
  const auto start = Clock::now();
  const TextScore score = score_with_progress(opened.model, ids, windows);
  report_score(
      score.loss, score.tokens, seconds_since(start),
      concat("window      ", options.eval_window, ", moved by ", options.eval_stride, "\n"),
      options.json);
  return 0;
}

PreparedData prepared_rows(const RunConfig& config) {
  const DataCoding coding = open_data_coding(config);
  DataProgress progress(config);
  return prepare_run_data(config, coding.coder, *coding.layout, progress.hooks());
}

/// The rows a run with this config evaluates on; without any, those it trains on.
std::vector<EvalRows> rows_to_measure(const PreparedData& data) {
  if (!data.eval.empty()) return data.eval;
  log_info("neither eval_dataset nor val_size is set: the rows of dataset are measured");
  return {{"", data.train}};
}

int eval_rows(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  const PreparedData data = prepared_rows(config);
  const OpenedModel opened = open_model(config);
  const StopSignal signals;
  const auto start = Clock::now();
  EvaluationMeans means;
  const auto kd =
      config.kd.kd_cache ? std::optional(distillation_of(config.kd).settings) : std::nullopt;
  Json each = Json::object();
  for (const EvalRows& rows : rows_to_measure(data)) {
    ProgressLine line("scoring", rows.rows->rows());
    const auto result =
        evaluate(opened.model, rows.rows, config.training.per_device_eval_batch_size, kd,
                 StopSignal::requested, [&](int64_t done, int64_t) { line.show(done); });
    if (!result) return static_cast<int>(ExitCode::stopped_early);
    means.add(*result);
    if (!rows.name.empty())
      each[rows.name] = {{"loss", result->loss}, {"perplexity", std::exp(result->loss)}};
  }
  const double seconds = seconds_since(start);
  const Evaluation mean = means.result();
  std::string how;
  if (mean.divergence)
    how += concat("kd loss     ", *mean.divergence, "\nagreement   ", *mean.agreement,
                  " of the teacher's first guesses\n");
  for (const auto& [name, figures] : each.items())
    how += concat("  ", name, ": loss ", figures["loss"].get<double>(), "\n");
  if (invocation.options.json) {
    Json result = score_json(mean.loss, mean.label_tokens, seconds);
    if (mean.divergence) {
      result["kd_loss"] = *mean.divergence;
      result["top1_agreement"] = *mean.agreement;
    }
    if (!each.empty()) result["datasets"] = each;
    std::fputs(dump_json(result).c_str(), stdout);
  } else {
    print_score(mean.loss, mean.label_tokens, seconds, how);
  }
  return 0;
}

}  // namespace

int run_eval(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  if (invocation.options.text_file) return eval_text(invocation);
  if (config.data.dataset.empty() && config.data.eval_dataset.empty() && !config.kd.kd_cache)
    fail(ExitCode::usage,
         "eval needs something to measure: --text_file FILE, or eval_dataset or "
         "dataset in the config");
  return eval_rows(invocation);
}

}  // namespace isogrid
