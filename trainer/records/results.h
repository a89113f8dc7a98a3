#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "core/json_fwd.h"
#include "trainer/records/log_rows.h"

namespace isogrid {

struct EvalResults {
  double loss = 0;
  double perplexity = 0;
  int64_t samples = 0, batches = 0;
  double seconds = 0;
};

/// What a finished run came to. Seconds and samples are of all attempts together.
struct RunResults {
  double epoch = 0;
  int64_t steps = 0, total_steps = 0;
  std::optional<double> train_loss = {};  // mean over all steps; none if nothing was trained
  double train_seconds = 0;
  int64_t train_samples = 0;
  int64_t tokens = 0;
  std::optional<double> total_flos = {};
  std::optional<EvalResults> eval = {};
  std::string best_checkpoint = {};  // "checkpoint-120"; empty: no best one was asked for
  int64_t best_step = 0;
  std::optional<double> best_metric = {};
  std::string stopped_because = {};  // empty: all steps were done
};

/// The settings that trainer_state.json repeats.
struct StateSettings {
  double logging_steps = 0, save_steps = 0;
  std::optional<double> eval_steps = {};
  double epochs = 0;
  int64_t train_batch_size = 0;
};

/// all_results.json, train_results.json and, with an evaluation, eval_results.json, in the names
/// that transformers and LLaMA-Factory use.
void write_results(const std::string& output_dir, const RunResults& results,
                   IoCalls& io = IoCalls::system());

/// trainer_state.json as transformers leaves it in the output directory: counters, the best
/// checkpoint, and the log as log_history.
void write_trainer_state(const std::string& output_dir, const RunResults& results,
                         const StateSettings& settings, const std::vector<LogRow>& rows,
                         IoCalls& io = IoCalls::system());

Json train_results_json(const RunResults& results);
Json eval_results_json(const RunResults& results);

}  // namespace isogrid
