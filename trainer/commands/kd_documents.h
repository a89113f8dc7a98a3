#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/kd_format.h"
#include "data/rows.h"

namespace isogrid {

/// The documents a teacher is to read, those held out last.
struct KdDocuments {
  std::vector<KdDocument> all;  // they lie in the rows or files below
  int64_t held_out = 0;
  int32_t closing_id = 0;
  std::string tokenizer_sha256;
  std::map<std::string, std::string> made_with;
  std::vector<PreparedData> data;                         // one for each rendering
  std::vector<std::shared_ptr<const ExampleFile>> files;  // answers of a teacher
};

/// The documents of the config's datasets, under kd_length, kd_dataset_format, kd_thinking,
/// kd_num_sequences and kd_held_out. Keys that contradict others are refused (78).
KdDocuments prepare_kd_documents(const RunConfig& config);

}  // namespace isogrid
