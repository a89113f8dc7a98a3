#pragma once
#include "configs/run_config.h"
#include "models/folder.h"

namespace isogrid {

/// The folder a run is trained on: that of model_name_or_path. With quantization_method: gptq and
/// bits on a dense one, what calibrating it gives, which is written once below output_dir: a run
/// that goes on has the same base to the last bit, and the adapter has one to be shipped with.
ModelFolder open_base(const RunConfig& config);

}  // namespace isogrid
