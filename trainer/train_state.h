#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "trainer/publication.h"
#include "trainer/step.h"

namespace isogrid {

/// Everything about a run's progress that is not a tensor.
struct Progress {
  int64_t step = 0;     // steps done
  int64_t rows = 0;     // rows of data consumed by all processes: the only position in the data
  int64_t tokens = 0;   // fed so far
  double loss_sum = 0;  // of the steps that updated
  int64_t updates = 0;
  double train_seconds = 0;  // in steps, over all attempts
  int64_t skipped_in_a_row = 0;
  std::vector<int64_t> skipped_steps;  // the latest, as far back as the policy looks
  std::optional<double> best_metric;
  int64_t best_step = 0;
  int64_t evaluated_step = -1;  // of the last evaluation
  int64_t evaluations_without_gain = 0;
};

/// What must be as it was when a run goes on: settings by key, and what the files were.
struct Provenance {
  std::map<std::string, std::string> settings;  // every key, as YAML
  std::string data_fingerprint;
  std::string tokenizer_hash;
  std::string model_fingerprint;
  std::string chat_template;
};

// A checkpoint is the published files and these two, written and read below:
//   trainer_state.json          Progress, Provenance, the loss scale
//   trainer_state.safetensors   masters where the published files do not hold them, moments, the
//                               running average, codes that a schedule keeps, what the anchor held
//                               likely

std::vector<FileToWrite> state_files(Training& training, const Publication& publication,
                                     const Progress& progress, const Provenance& provenance);

/// Everything of a checkpoint's folder back in place. Parsed and checked whole before a tensor is
/// changed. `path` has been verified by its manifest.
Progress load_state(const std::string& path, Training& training, const Publication& publication,
                    const Provenance& now);

/// The masters alone, as when the best checkpoint, that of `step`, becomes the result.
void load_masters(const std::string& path, int64_t step, Training& training,
                  const Publication& publication);

/// Does this checkpoint belong to a run of these settings? Of `now` only the settings are looked
/// at.
bool was_saved_with(const std::string& path, const Provenance& now);

/// SHA-256 of the settings that decide what comes out.
std::string settings_hash(const Provenance& provenance);

/// Is this key free to change when a run goes on?
bool may_change_on_resume(const std::string& key);

}  // namespace isogrid
