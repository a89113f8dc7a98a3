#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "configs/run_config.h"
#include "data/batch_stream.h"
#include "data/rows.h"
#include "trainer/open_training.h"
#include "trainer/records/run_log.h"
#include "trainer/records/trackers.h"
#include "trainer/records/training_display.h"
#include "trainer/run_directory/checkpoint_store.h"
#include "trainer/run_directory/run_directory.h"
#include "trainer/run_plan.h"
#include "trainer/train_state.h"
#include "trainer/work.h"

namespace isogrid {

/// A run that is on: the model, what feeds it, where it stands, where it writes.
struct Run {
  const RunConfig& config;
  OpenedTraining opened;
  std::unique_ptr<BatchStream> batches;
  std::vector<EvalRows> eval;
  RunPlan plan;
  Progress progress;
  Provenance provenance;
  CheckpointStore& checkpoints;
  RunLog& log;
  TrainingDisplay& display;
  Trackers& trackers;
  WorkPerToken work = {};
  double roof = 0;     // operations per second of the machine's matrix product
  double seconds = 0;  // of training in this process
  double last_loss = 0;
  std::optional<EvalRecord> last_evaluation = {};
};

enum class RunEnd { finished, stopped };

/// Steps until the plan is done, or until a signal asked for the end: then the state is committed.
/// A value that is not finite ends it with exit code 80, the last good state committed.
RunEnd run_to_end(Run& run);

/// Commits a checkpoint of where the run stands; does nothing where one of this step exists.
void save_checkpoint(Run& run);

/// Every evaluation set; the mean over all label tokens decides what is best. False: a signal came.
bool evaluate_run(Run& run, EvalRecord& record);

}  // namespace isogrid
