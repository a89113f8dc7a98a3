#pragma once
#include <memory>
#include <string>

#include "configs/run_config.h"
#include "data/encode_dataset.h"
#include "trainer/run_directory/stop_signal.h"
#include "trainer/terminal.h"

namespace isogrid {

/// Shows how preparing the data goes, and lets SIGTERM and SIGINT end it cleanly.
class DataProgress {
 public:
  explicit DataProgress(const RunConfig& config) : threads_(config.run.threads) {}

  /// They refer to this object.
  DataHooks hooks();

 private:
  void show(std::string_view what, int64_t done, int64_t total);

  StopSignal signal_;
  int64_t threads_;
  std::string shown_;
  std::unique_ptr<ProgressLine> line_;
};

}  // namespace isogrid
