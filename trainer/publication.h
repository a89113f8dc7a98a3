#pragma once
#include <memory>
#include <string>
#include <vector>

#include "configs/qat_config.h"
#include "core/io_writer.h"
#include "core/tensor_file.h"
#include "models/attach_adapters.h"
#include "models/folder.h"
#include "models/weight_index.h"
#include "trainer/step.h"

namespace isogrid {

/// What a run gives to the world: an adapter in PEFT's form, or a whole model folder.
struct Publication {
  ModelFolder base;
  std::shared_ptr<const WeightIndex>
      base_weights;       // what does not train is copied from it as it is
  std::string base_name;  // as the user wrote it
  bool is_adapter = false;
  AdapterSpec adapter;
  std::vector<std::string> in_full;        // tensors stored in full beside the adapters
  std::vector<NamedTensor> adapter_start;  // PiSSA: the adapters the run began with
  double shard_gigabytes = 5;
  QatConfig qat;  // how it was rounded in training
};

/// The files of a model folder or an adapter folder, from the masters of what trains or their
/// running average. They are read when written, so nothing may be updated before that.
std::vector<FileToWrite> publication_files(Training& training, const Publication& publication);

/// Name under which a trained tensor is published, and whether its file holds the master itself, so
/// that a checkpoint need not store it twice.
std::string published_name(const Publication& publication, const TrainedSlice& slice);
bool publishes_masters(const Training& training, const Publication& publication);

}  // namespace isogrid
