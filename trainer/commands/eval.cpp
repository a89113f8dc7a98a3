#include <ATen/Parallel.h>

#include <chrono>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"
#include "data/tokenizer/tokenizer.h"
#include "models/score.h"
#include "trainer/commands/commands.h"
#include "trainer/commands/compare.h"
#include "trainer/commands/evaluated_rows.h"
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

/// What a measurement tells beside the loss.
struct Details {
  std::string how = {};  // lines for people
  Json datasets = Json::object();
  Json teacher = Json::object();
};

/// Prints a measurement, and beside it what quantisation makes of the model where qat_target asks.
void report(const Invocation& invocation, const Measured& plain, double seconds,
            const Details& details, const MeasureModel& measure) {
  std::vector<Measured> rows;
  if (invocation.config.qat.qat_target) rows = compare_quantised(invocation.config, plain, measure);
  if (!invocation.options.json) {
    print_score(plain.loss, plain.tokens, seconds, details.how);
    if (!rows.empty()) std::printf("\n%s", comparison_table(rows).c_str());
    return;
  }
  Json result = score_json(plain.loss, plain.tokens, seconds);
  result.update(details.teacher);
  if (!details.datasets.empty()) result["datasets"] = details.datasets;
  if (!rows.empty()) result["comparison"] = comparison_json(rows);
  std::fputs(dump_json(result).c_str(), stdout);
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
  const MeasureModel measure = [&](const CausalLm& model) {
    const TextScore score = score_with_progress(model, ids, windows);
    return Measured{"float", score.loss, score.tokens};
  };
  const auto start = Clock::now();
  Measured plain;
  {
    const OpenedModel opened = open_model(invocation.config);
    plain = measure(opened.model);
  }
  const double seconds = seconds_since(start);
  report(invocation, plain, seconds,
         {.how = concat("window      ", options.eval_window, ", moved by ", options.eval_stride,
                        "\n")},
         measure);
  return 0;
}

int eval_rows(const Invocation& invocation) {
  const RunConfig& config = invocation.config;
  const std::vector<EvalRows> sets = rows_of_evaluation(config);
  const StopSignal signals;
  Details details;
  Evaluation mean;
  const auto start = Clock::now();
  {
    const OpenedModel opened = open_model(config);
    mean = evaluated_rows(opened.model, config, sets, details.datasets);
  }
  const double seconds = seconds_since(start);
  if (mean.divergence) {
    details.how += concat("kd loss     ", *mean.divergence, "\nagreement   ", *mean.agreement,
                          " of the teacher's first guesses\n");
    details.teacher = {{"kd_loss", *mean.divergence}, {"top1_agreement", *mean.agreement}};
  }
  for (const auto& [name, figures] : details.datasets.items())
    details.how += concat("  ", name, ": loss ", figures["loss"].get<double>(), "\n");
  report(invocation, {"float", mean.loss, mean.label_tokens}, seconds, details,
         [&](const CausalLm& model) {
           Json unused = Json::object();
           const Evaluation other = evaluated_rows(model, config, sets, unused);
           return Measured{"float", other.loss, other.label_tokens};
         });
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
