// Writes the records of a made-up run, so that the programs which read them can be asked what they
// see: parity_records PLAN.json, with {"output_dir", "resume_step", "steps", "values": [{"step",
// "loss", "grad_norm", "lr"}, ...], "evals": [...], "report_to", "project", "run_name", "config"}.
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/json.h"
#include "trainer/records/report.h"
#include "trainer/records/results.h"
#include "trainer/records/run_facts.h"
#include "trainer/records/run_log.h"
#include "trainer/records/trackers.h"

namespace isogrid {
namespace {

TrackingConfig tracking_of(const JsonFields& plan) {
  TrackingConfig tracking;
  if (plan.has("report_to")) tracking.report_to = plan.strings("report_to");
  if (plan.has("project")) tracking.project = plan.string("project");
  if (plan.has("experiment_name")) tracking.experiment_name = plan.string("experiment_name");
  if (plan.has("run_name")) tracking.run_name = plan.string("run_name");
  return tracking;
}

StepRecord step_of(const Json& entry, int64_t total) {
  StepRecord record;
  record.step = entry.at("step").get<int64_t>();
  record.total_steps = total;
  record.epoch = static_cast<double>(record.step) / 10;
  record.loss = entry.at("loss").get<double>();
  record.loss_float32 = static_cast<float>(record.loss);
  record.grad_norm = entry.value("grad_norm", 1.0);
  record.learning_rate = entry.value("lr", 1e-4);
  record.seconds = static_cast<double>(record.step);
  return record;
}

void run(const char* path) {
  const Json plan = read_json_file(path);
  const JsonFields fields(plan, path);
  const std::string folder = fields.string("output_dir");
  const int64_t total = fields.integer("steps");
  Json config = plan.value("config", Json::object());
  RunLog log({.output_dir = folder, .resume_step = fields.integer_or("resume_step", 0)});
  Trackers trackers(tracking_of(fields),
                    {folder, fields.string_or("run_id", "run1"), "unnamed", &config});
  for (const Json& entry : plan.at("values")) {
    const StepRecord record = step_of(entry, total);
    log.step(record);
    trackers.step(record);
  }
  for (const Json& entry : plan.value("evals", Json::array())) {
    const double loss = entry.at("loss").get<double>();
    const EvalRecord record{.step = entry.at("step").get<int64_t>(),
                            .total_steps = total,
                            .loss = loss,
                            .perplexity = std::exp(loss)};
    log.evaluation(record);
    trackers.evaluation(record);
  }
  log.make_durable();
  trackers.finish(true);
  const std::vector<LogRow> rows = read_training_log(folder);
  const RunResults results{.epoch = 1, .steps = total, .total_steps = total, .train_loss = 1.0};
  write_results(folder, results);
  write_trainer_state(folder, results, {}, rows);
  write_run_facts(folder, {}, {}, {}, "seed: 1\n");
  write_report(folder, {.title = "parity", .rows = rows});
}

}  // namespace
}  // namespace isogrid

int main(int argc, char** argv) {
  try {
    if (argc != 2) isogrid::fail(isogrid::ExitCode::usage, "parity_records PLAN.json");
    isogrid::run(argv[1]);
    return 0;
  } catch (const isogrid::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
