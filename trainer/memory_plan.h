#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "configs/run_config.h"
#include "data/batch_stream.h"
#include "models/decoder_config.h"
#include "models/folder.h"
#include "trainer/run_plan.h"

namespace isogrid {

/// Sizes a run's memory depends on, known before a weight is loaded.
struct RunSizes {
  DecoderConfig shape;
  int64_t parameters = 0;         // of the model
  int64_t trained = 0;            // of what trains
  int64_t trained_in_model = 0;   // of those, the model's own (full, freeze, additional_target)
  int64_t head_gradient = 0;      // numbers of it that are made before they are added
  int64_t quantised = 0;          // of the model's, those held in few bits
  int64_t quantised_bytes = 0;    // and what they take
  int64_t largest_quantised = 0;  // of one weight: it is expanded whole
  int64_t compute_bytes = 4, master_bytes = 4, stored_bytes = 4;  // per number
  int64_t optimizer_bytes = 8;                                    // per trained number
  int64_t rounding_bytes = 0;                                     // of training on a file's grid
  bool averages = false;
  bool trains_head = false;
  int64_t largest_batch = 0;  // tokens of the largest micro-batch
  int64_t largest_batch_labels = 0;
  int64_t teacher_bytes = 0;  // of the guesses for the labels of the largest batch
  int64_t anchor_bytes = 0;
};

/// From the settings, the shapes and the batches; no weight is read.
RunSizes sizes_before_loading(const RunConfig& config, const ModelFolder& folder,
                              const BatchStream& batches, const RunPlan& plan);

/// Bytes by part, in the order they are shown.
struct MemoryPlan {
  std::vector<std::pair<std::string, int64_t>> parts;
  bool recomputes = false;
  int64_t total() const;
};

/// What a run holds at its peak. `recomputes`: whole blocks are run again in backward.
MemoryPlan plan_memory(const RunSizes& sizes, bool recomputes);

/// Bytes of what autograd keeps for each token: residuals, q, k, v, the attention's output and its
/// sums, gate and up of every block; with recompute one row of the residual for each block.
int64_t held_bytes_per_token(const DecoderConfig& shape, int64_t compute_bytes, bool recomputes);

/// With or without recompute as gradient_checkpointing says; auto: with it only where the run would
/// not fit otherwise. What cannot fit is refused (71) with the settings to change.
MemoryPlan memory_plan_that_fits(const RunConfig& config, const RunSizes& sizes, int64_t available);

/// Bytes this process may still take: what the GPU has free, or the machine, or its cgroup's limit.
int64_t available_memory(at::Device device);

}  // namespace isogrid
