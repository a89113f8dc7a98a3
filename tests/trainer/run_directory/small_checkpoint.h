#pragma once
#include <string>
#include <vector>

#include "core/log.h"
#include "trainer/run_directory/checkpoint_store.h"
#include "trainer/run_directory/run_directory.h"

namespace isogrid {

/// Expected warnings are not shown.
class Quiet {
 public:
  Quiet() : before_(log_level()) { set_log_level(LogLevel::error); }
  ~Quiet() { set_log_level(before_); }

 private:
  LogLevel before_;
};

/// What a small run saves at `step`: three files whose content tells the step.
inline std::vector<CheckpointFile> small_files(int64_t step) {
  const std::string text = "state of step " + std::to_string(step) + "\n";
  return {text_file("adapter_model.safetensors", text + std::string(700, 'a')),
          text_file("trainer_state.safetensors", text + std::string(1500, 'm')),
          text_file("trainer_state.json", text)};
}

inline CheckpointFacts small_facts(int64_t step) {
  return {.step = step, .run_id = "", .config_hash = "c0", .data_fingerprint = "da"};
}

inline void save_small(CheckpointStore& store, int64_t step) {
  store.commit(small_facts(step), small_files(step));
}

/// A run that is open, with its store.
struct OpenRun {
  RunDirectory run;
  CheckpointStore store;

  explicit OpenRun(const std::string& path, IoCalls& io = IoCalls::system())
      : run(path, /*overwrite=*/false, io), store(run.directory(), run.run_id()) {}
};

}  // namespace isogrid
