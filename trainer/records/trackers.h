#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/tracking_config.h"
#include "core/json_fwd.h"
#include "trainer/records/step_record.h"

namespace isogrid {

struct TrackerRun {
  std::string output_dir;
  std::string run_id;        // the same in all attempts: a resumed run goes on at the tracker
  std::string default_name;  // where run_name is not set: the last part of output_dir
  Json* config = nullptr;    // flat settings; those that look like credentials are left out
};

/// wandb, trackio and mlflow, through one Python process beside the trainer (scripts/
/// tracker_bridge.py, which is inside the program). Training never waits for it: what it does not
/// take at once is queued, up to a few MiB; if it dies, one warning says so and training goes on.
class Trackers {
 public:
  /// Starts what `report_to` asks for and waits until it runs, a minute at most. A package or a
  /// Python that is missing, or a tracker that refuses to start: exit code 78. `all` takes those
  /// that are installed. With none of them asked for, nothing is started.
  Trackers(const TrackingConfig& settings, const TrackerRun& run);
  ~Trackers();
  Trackers(const Trackers&) = delete;
  Trackers& operator=(const Trackers&) = delete;

  void step(const StepRecord& record);
  void evaluation(const EvalRecord& record);
  /// Any other figures, after `step`: {"export/gguf:q4_0/bytes": 1700000}.
  void figures(int64_t step, const Json& values);
  /// Hands over what is queued and lets the trackers close their runs, within `seconds`; slower
  /// ones go on by themselves. Without it the runs end as failed.
  void finish(bool succeeded, double seconds = 60);

 private:
  struct Bridge;
  void send(const Json& message);

  std::unique_ptr<Bridge> bridge_;  // none: nothing to report to, or gone
};

/// The trackers among `report_to` that need the bridge.
std::vector<std::string> trackers_in(const std::vector<std::string>& report_to);

/// Settings without those that could be credentials.
Json without_credentials(const Json& config);

const char* tracker_script();

}  // namespace isogrid
