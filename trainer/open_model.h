#pragma once
#include "configs/run_config.h"
#include "models/causal_lm.h"
#include "models/folder.h"
#include "models/peft.h"

namespace isogrid {

/// The model a command works with, and the folder it came from.
struct OpenedModel {
  ModelFolder folder;
  CausalLm model;
};

/// The folder of model_name_or_path: a path, else the local hub cache. Unset: exit code 78.
std::string model_folder_path(const RunConfig& config);

/// Loads it for inference: device, compute type and threads as the settings say; the type defaults
/// to the one the weights are stored in.
OpenedModel open_model(const RunConfig& config);

/// Refuses (78) to train on a folder that somebody quantised what such a base cannot do, naming the
/// setting and the folder. Nothing is loaded.
void check_quantised_folder(const RunConfig& config, const ModelFolder& folder);

/// The folders of adapter_name_or_path, each a path or an id of the hub cache, in order.
std::vector<PeftFolder> open_adapters(const RunConfig& config);

/// device: auto | cpu | cuda[:n], checked against what this build and machine have.
at::Device chosen_device(const RunConfig& config);

}  // namespace isogrid
