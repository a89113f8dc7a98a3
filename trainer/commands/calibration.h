#pragma once
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/batch.h"
#include "export/registry.h"
#include "quant/packed_model.h"

namespace isogrid {

/// What quantisers that look at data are shown, and where it came from, for people.
struct CalibrationText {
  std::vector<Batch> rows;
  std::string origin;
};

/// export_quantization_nsamples rows of export_quantization_maxlen tokens: of
/// export_quantization_dataset, else of the run's own dataset, else of the bundled text.
CalibrationText open_calibration_text(const RunConfig& config);

/// The group size of `wanted` where it names none: the largest that divides every linear's inputs.
int64_t chosen_group_size(const WantedExport& wanted, CausalLm& model);

/// The model in the few bits of `wanted`, by the method that its format is calibrated with.
PackedModel calibrated_model(const RunConfig& config, const WantedExport& wanted,
                             int64_t group_size, CausalLm& model, const CalibrationText& text);

}  // namespace isogrid
