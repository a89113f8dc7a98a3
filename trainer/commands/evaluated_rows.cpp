#include "trainer/commands/evaluated_rows.h"

#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "data/kd_rows.h"
#include "trainer/commands/data_progress.h"
#include "trainer/data_coding.h"
#include "trainer/loss/distillation.h"
#include "trainer/run_directory/stop_signal.h"
#include "trainer/terminal.h"

namespace isogrid {

std::vector<EvalRows> rows_of_evaluation(const RunConfig& config) {
  const DataCoding coding = open_data_coding(config);
  DataProgress progress(config);
  const PreparedData data =
      prepare_run_data(config, coding.coder, *coding.layout, progress.hooks());
  if (!data.eval.empty()) return data.eval;
  log_info("neither eval_dataset nor val_size is set: the rows of dataset are measured");
  return {{"", data.train}};
}

Evaluation evaluated_rows(const CausalLm& model, const RunConfig& config,
                          const std::vector<EvalRows>& sets, Json& each) {
  const auto seed = static_cast<uint64_t>(config.run.seed);
  const auto kd =
      config.kd.kd_cache ? std::optional(distillation_of(config.kd, seed).settings) : std::nullopt;
  EvaluationMeans means;
  for (const EvalRows& rows : sets) {
    ProgressLine line("scoring", rows.rows->rows());
    const auto result =
        evaluate(model, rows.rows, config.training.per_device_eval_batch_size, kd,
                 StopSignal::requested, [&](int64_t done, int64_t) { line.show(done); });
    if (!result) fail(ExitCode::stopped_early, "stopped before all rows were measured");
    means.add(*result);
    if (!rows.name.empty())
      each[rows.name] = {{"loss", result->loss}, {"perplexity", std::exp(result->loss)}};
  }
  return means.result();
}

}  // namespace isogrid
