#pragma once
#include <string>
#include <vector>

#include "configs/finetuning_config.h"
#include "models/attach_adapters.h"

namespace isogrid {

/// Lets everything of the model train.
void train_all(CausalLm& model);

/// Lets the blocks and modules that `freeze` names train, and nothing else. Names that mean nothing
/// in this model are refused (78) with those that do.
void train_some_layers(CausalLm& model, const FinetuningConfig& config);

/// Lets the adapters train, and the scales that a base's rounding learns.
void train_adapters(CausalLm& model);

/// Lets the modules whose names end in one of these train in full and returns their tensors' names.
/// On a model with a tied head an embedding or head named here becomes a matrix of its own.
std::vector<std::string> train_in_full(CausalLm& model, const std::vector<std::string>& modules);

AdapterSpec adapter_spec(const FinetuningConfig& config);

}  // namespace isogrid
