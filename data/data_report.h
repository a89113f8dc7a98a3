#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json_fwd.h"
#include "data/encode_counts.h"
#include "data/templates/chat_template.h"

namespace isogrid {

/// One set of rows: what is trained on, or one of those evaluated on.
struct RowsReport {
  std::string name;
  int64_t rows = 0;
  int64_t examples = 0;  // documents in them; an example cut into blocks counts in each
  int64_t tokens = 0;
  int64_t label_tokens = 0;  // what the loss is a mean of
  int64_t longest_row = 0;
  int64_t dropped_tokens = 0;  // of rows that would predict nothing
  bool packed = false;
  int64_t cutoff_len = 0;

  /// Share of the rows' room that holds tokens; 0 where nothing is packed.
  double packing_efficiency() const;
};

/// One dataset as it was read.
struct DatasetReport {
  struct File {
    std::string path;
    uint64_t bytes = 0;
    std::string sha256;
    int64_t records = 0;
  };
  std::string name;
  std::vector<File> files;
  EncodeCounts counts;
  bool was_cached = false;
  std::string cache_path;
};

/// Everything worth knowing about the data before training.
struct DataReport {
  std::vector<DatasetReport> datasets;  // to train on, then to evaluate on
  RowsReport train;
  std::vector<RowsReport> eval;
  std::string chat_template;  // "" in stage pt
  std::string tokenizer_sha256;
  std::optional<Day> today;  // the date the rows tell the model, where the template has one; a run
                             // that goes on another day has to ask for it (DataHooks::today)
  std::string train_fingerprint;
};

/// For people: a few lines, and one for each thing that was lost.
std::string report_text(const DataReport& report);

/// For data.json: files with size, hash and records, tokenizer, template, rows and tokens.
Json report_json(const DataReport& report);

}  // namespace isogrid
