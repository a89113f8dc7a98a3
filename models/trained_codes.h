#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/io_writer.h"
#include "models/rounding.h"
#include "models/weight_index.h"

namespace isogrid {

/// The codes a run trained, beside the weights it publishes: what an exporter writes, so that
/// nothing is searched again. Safetensors inside; the name keeps it away from programs that take
/// every .safetensors file of a folder for weights.
inline constexpr const char* kTrainedCodesFile = "quantisation.isogrid";

/// The tensor that is published under a slot, in its published type.
using PublishedValue = std::function<at::Tensor(const TensorSlot&)>;

/// The file for a model that rounds, nothing before its rounding begins. The codes are made when
/// the file is written.
std::optional<FileToWrite> trained_codes_file(CausalLm& model, const QatConfig& config,
                                              const PublishedValue& published);

/// One weight's codes.
struct TrainedWeight {
  std::shared_ptr<const Grid> grid;
  at::Tensor records;       // uint8 [out, row_bytes]
  std::string fingerprint;  // of the published weight they belong to
  int64_t columns = 0;

  at::Tensor decoded() const;  // float32 [out, in]
};

struct TrainedCodes {
  std::string path;
  std::string target;
  bool merged = true;  // with the adapter beside it; else without
  std::map<std::string, TrainedWeight> weights;

  const TrainedWeight* find(const std::string& name) const;
};

/// Null: the folder has none. A malformed file is refused (65).
std::shared_ptr<const TrainedCodes> read_trained_codes(const std::string& folder);

/// Do the codes belong to this weight, as it is stored, and its adapter? Else it was changed after
/// training: refused (65) by name.
void check_trained_weight(const TrainedCodes& codes, const std::string& name,
                          const at::Tensor& stored, const Adapter* adapter);

/// All of a model's, with the adapters on it, against the folder's weights; those in `replaced`
/// come from the adapter's own folder.
void check_trained_codes(CausalLm& model, const TrainedCodes& codes, const WeightIndex& weights,
                         const std::vector<std::string>& replaced);

/// Puts the decoded weights in their places, and takes off the adapters that are in them.
void serve_trained_codes(CausalLm& model, const TrainedCodes& codes);

}  // namespace isogrid
