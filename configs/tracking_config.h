#pragma once
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// Who else hears how the run goes.
struct TrackingConfig {
  std::vector<std::string> report_to;
  std::optional<std::string> project;
  std::optional<std::string> experiment_name;
  std::optional<std::string> run_name;
  std::optional<std::string> trackio_space_id;
  std::optional<std::string> logging_dir;

  void visit(auto&& field) {
    field("report_to", report_to, "Trackers; TensorBoard files and report.html come either way.")
        .one_of({"none", "all", "tensorboard", "wandb", "trackio", "mlflow"})
        .to_come({"swanlab", "comet_ml", "neptune", "clearml"});
    field("project", project, "Project name at the tracker.");
    field("experiment_name", experiment_name, "Experiment name at the tracker.");
    field("run_name", run_name, "Run name at the tracker.").unset("the last part of output_dir");
    field("trackio_space_id", trackio_space_id, "Space of a shared trackio board.");
    field("logging_dir", logging_dir, "Folder of the TensorBoard files.").unset("output_dir/runs");
  }
};

}  // namespace isogrid
