#pragma once
#include <optional>
#include <string>

#include "configs/run_config.h"
#include "export/source.h"

namespace isogrid {

/// Which weights an adapter is merged into, and what that was decided by.
struct MergeChoice {
  bool dequantised = false;
  std::optional<double> loss_original, loss_dequantised;  // where both were measured
  std::string measured_on;

  /// For the model card: "" where there was nothing to choose.
  std::string described() const;
};

/// The model to export, on the base that merge_base names: the weights as they are stored, or what
/// the few bits the adapter was trained on (quantization_bit) decode to. auto measures both.
ExportSource open_merged_source(const RunConfig& config, MergeChoice& choice);

}  // namespace isogrid
