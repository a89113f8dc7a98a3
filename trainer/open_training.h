#pragma once
#include <optional>
#include <string>

#include "configs/run_config.h"
#include "trainer/publication.h"
#include "trainer/step.h"

namespace isogrid {

/// A model ready for its first step, and how its results are published.
struct OpenedTraining {
  Training training;
  Publication publication;
};

/// Number types of a run: what it computes in and what its masters are kept in.
struct Precision {
  at::ScalarType compute = at::kFloat;
  at::ScalarType master = at::kFloat;
  bool scales_loss = false;  // float16
};
/// bf16, fp16, pure_bf16, compute_dtype; else the type the weights are stored in on a GPU, float32
/// on a CPU.
Precision precision_of(const RunConfig& config, at::Device device, at::ScalarType stored);

/// Loads the base, lays adapters over it, decides what trains and lays that out. The schedule's
/// length is set when the data is known. `checkpoint`: where the run will go on from, for what need
/// not be made anew. `batches`: the rows of the run, for what is fitted to them before it begins.
OpenedTraining open_training(const RunConfig& config, const ModelFolder& folder,
                             const std::optional<std::string>& checkpoint = std::nullopt,
                             const BatchStream* batches = nullptr);

/// The config.json a run computes with and publishes: rope_scaling laid over the folder's own.
Json training_model_config(const RunConfig& config, const ModelFolder& folder);

}  // namespace isogrid
