#include "trainer/records/results.h"

#include <cmath>
#include <filesystem>

#include "core/json.h"

namespace isogrid {
namespace {

double rounded(double value, double places) {
  const double scale = std::pow(10.0, places);
  return std::round(value * scale) / scale;
}

double per_second(int64_t count, double seconds) {
  return seconds > 0 ? rounded(static_cast<double>(count) / seconds, 3) : 0;
}

void write_json(const std::string& folder, const char* name, const Json& value, IoCalls& io) {
  const std::string text = dump_json(value);
  write_file_durably((std::filesystem::path(folder) / name).string(), as_bytes(text), io);
}

Json optional_number(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json history_entry(const LogRow& row) {
  Json entry = {{"epoch", row.epoch}};
  if (row.is_eval) {
    entry["eval_loss"] = row.loss;
  } else {
    entry["grad_norm"] = row.grad_norm;
    entry["learning_rate"] = row.learning_rate;
    entry["loss"] = row.loss;
    entry["num_input_tokens_seen"] = row.tokens;
  }
  entry["step"] = row.step;
  return entry;
}

}  // namespace

Json train_results_json(const RunResults& results) {
  Json json = {{"epoch", results.epoch}};
  if (results.total_flos) json["total_flos"] = *results.total_flos;
  if (!results.train_loss) return json;
  json["train_loss"] = *results.train_loss;
  json["train_runtime"] = rounded(results.train_seconds, 4);
  json["train_samples"] = results.train_samples;
  json["train_samples_per_second"] = per_second(results.train_samples, results.train_seconds);
  json["train_steps_per_second"] = per_second(results.steps, results.train_seconds);
  json["train_tokens"] = results.tokens;
  json["train_tokens_per_second"] = per_second(results.tokens, results.train_seconds);
  return json;
}

Json eval_results_json(const RunResults& results) {
  Json json = {{"epoch", results.epoch}};
  if (!results.eval) return json;
  const EvalResults& eval = *results.eval;
  json["eval_loss"] = eval.loss;
  json["eval_runtime"] = rounded(eval.seconds, 4);
  json["eval_samples"] = eval.samples;
  json["eval_samples_per_second"] = per_second(eval.samples, eval.seconds);
  json["eval_steps_per_second"] = per_second(eval.batches, eval.seconds);
  json["perplexity"] = eval.perplexity;
  return json;
}

void write_results(const std::string& output_dir, const RunResults& results, IoCalls& io) {
  Json all = eval_results_json(results);
  all.update(train_results_json(results));
  all["global_step"] = results.steps;
  if (!results.best_checkpoint.empty()) {
    all["best_global_step"] = results.best_step;
    all["best_metric"] = optional_number(results.best_metric);
    all["best_model_checkpoint"] = results.best_checkpoint;
  }
  if (!results.stopped_because.empty()) all["stopped_because"] = results.stopped_because;
  if (results.train_loss)
    write_json(output_dir, "train_results.json", train_results_json(results), io);
  if (results.eval) write_json(output_dir, "eval_results.json", eval_results_json(results), io);
  // Last, since programs wait for it.
  write_json(output_dir, "all_results.json", all, io);
}

void write_trainer_state(const std::string& output_dir, const RunResults& results,
                         const StateSettings& settings, const std::vector<LogRow>& rows,
                         IoCalls& io) {
  Json history = Json::array();
  for (const LogRow& row : rows) history.push_back(history_entry(row));
  Json last = train_results_json(results);
  last["step"] = results.steps;
  if (results.train_loss) history.push_back(last);
  const bool has_best = !results.best_checkpoint.empty();
  const Json state = {{"best_global_step", has_best ? Json(results.best_step) : Json()},
                      {"best_metric", optional_number(results.best_metric)},
                      {"best_model_checkpoint", has_best ? Json(results.best_checkpoint) : Json()},
                      {"epoch", results.epoch},
                      {"eval_steps", optional_number(settings.eval_steps)},
                      {"global_step", results.steps},
                      {"is_hyper_param_search", false},
                      {"is_local_process_zero", true},
                      {"is_world_process_zero", true},
                      {"log_history", history},
                      {"logging_steps", settings.logging_steps},
                      {"max_steps", results.total_steps},
                      {"num_input_tokens_seen", results.tokens},
                      {"num_train_epochs", settings.epochs},
                      {"save_steps", settings.save_steps},
                      {"stateful_callbacks", Json::object()},
                      {"total_flos", results.total_flos.value_or(0)},
                      {"train_batch_size", settings.train_batch_size},
                      {"trial_name", nullptr},
                      {"trial_params", nullptr}};
  write_json(output_dir, "trainer_state.json", state, io);
}

}  // namespace isogrid
