#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/io.h"
#include "data/dataset_entry.h"
#include "data/dataset_files.h"
#include "data/encode_example.h"
#include "data/example_file.h"

namespace isogrid {

/// How long work is followed and ended from outside.
struct DataHooks {
  /// What is being done, and how much of how much; called now and then by the calling thread.
  std::function<void(std::string_view what, int64_t done, int64_t total)> progress;
  /// True once the work has to end (exit code 75). Asked between rows, by every thread.
  std::function<bool()> stop;
  std::optional<Day> today;  // the date some templates tell the model; unset: the local one
  unsigned threads = 0;      // 0: one for each core, sixteen at most

  void check_stop() const;
  void show(std::string_view what, int64_t done, int64_t total) const {
    if (progress) progress(what, done, total);
  }
};

/// The records of one dataset and how they are to be encoded.
struct EncodeJob {
  const DatasetEntry* entry = nullptr;
  const DatasetFiles* files = nullptr;
  std::vector<std::unique_ptr<const MappedFile>> bytes;  // of each file
  const Tokenizer* tokenizer = nullptr;
  const EncodeOptions* options = nullptr;
  bool plain_text = false;   // stage pt
  int64_t most_records = 0;  // the first so many are read; 0: all
  int64_t most_bad_records = 0;
};

/// Encodes records into `writer`, in their order, on several threads; what comes out does not
/// depend on how many. More unusable ones than allowed: 65, listing the first.
EncodeCounts encode_dataset(const EncodeJob& job, const DataHooks& hooks, ExampleWriter& writer);

/// Refuses (65) more unusable records than are allowed, listing the first.
void check_bad_records(const std::string& dataset, const EncodeCounts& counts, int64_t allowed);

}  // namespace isogrid
