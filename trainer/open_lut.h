#pragma once
#include <optional>
#include <string>

#include "configs/run_config.h"
#include "models/lut_layers.h"
#include "models/weights.h"
#include "trainer/memory_plan.h"
#include "trainer/open_training.h"

namespace isogrid {

/// What a run has to do with look-up-table layers.
enum class LutRun {
  none,
  starts,         // they are made from a dense folder, and train
  goes_on,        // the folder has them, and they train
  under_adapter,  // the folder has them; they are the frozen base of an adapter
};

/// Settings of look-up-table layers that would do nothing, or do not go with the folder, are
/// refused (78). Nothing is loaded.
LutRun lut_run(const RunConfig& config, const ModelFolder& folder);

inline bool trains_lut(LutRun run) { return run == LutRun::starts || run == LutRun::goes_on; }

/// Loads the model with its layers, those of `checkpoint` where the run goes on from one, and lays
/// out what trains. `options` as for any model, `batches` for what is fitted to rows first.
void open_lut_training(OpenedTraining& opened, const RunConfig& config, LutRun run,
                       const LoadOptions& options, const Precision& precision,
                       const std::optional<std::string>& checkpoint, const BatchStream* batches);

/// The frozen layers of an adapter's base, as the settings want them served.
void serve_lut_layers(CausalLm& model, const RunConfig& config);

/// What such a run comes to in memory, put in the place of what a dense model would.
void count_lut_layers(CausalLm& structure, const RunConfig& config, const ModelFolder& folder,
                      RunSizes& sizes);

}  // namespace isogrid
