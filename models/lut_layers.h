#pragma once
#include <cstdint>
#include <functional>

#include "configs/qat_config.h"
#include "models/causal_lm.h"
#include "models/folder.h"
#include "quant/lut_folder.h"

namespace isogrid {

/// Do the settings ask for look-up-table layers in the place of dense linears?
bool makes_lut_layers(const LutConfig& config);

/// The layers they ask for: those of the preset with what is said beside it. A family without bits
/// stays dense. Sizes that no layer can have, or a linear of this model cannot, are refused (78).
LutLayers planned_lut_layers(CausalLm& structure, const LutConfig& config);

/// The layers that a folder holds; none: it is no folder of look-up-table layers.
LutLayers stored_lut_layers(const ModelFolder& folder);

bool has_lut_layers(CausalLm& model);

/// One layer that stands for the dense weight [out, in]. `importance` [in] weighs the errors of its
/// columns; undefined: all alike.
std::shared_ptr<WeightSource> started_lut_layer(const std::string& name, const at::Tensor& dense,
                                                const LutLayer& layer, const LutConfig& config,
                                                const at::Tensor& importance, uint64_t seed);

/// Makes the layers from the dense linears of a loaded model, several at a time as memory allows;
/// the number of threads changes nothing about them. V2 keeps its dense weight where codes are to
/// be renewed from it. `progress` is called with the layers that are done.
void start_lut_layers(CausalLm& model, const LutLayers& layers, const LutConfig& config,
                      uint64_t seed, const std::function<void(int64_t done)>& progress);

/// How the layers of a model serve and renew their codes in a run. `half` empty: as it is. Codes
/// that have nothing to be renewed from are refused (78).
void set_lut_schedule(CausalLm& model, const LutConfig& config, std::optional<bool> half);

/// What the layers come to, before any of them is there.
struct LutSizes {
  int64_t numbers = 0;  // of the weights they stand for
  int64_t bytes = 0;    // of what does not train
  int64_t trained = 0;  // numbers that train
  int64_t largest = 0;  // numbers of the largest weight
};
LutSizes lut_sizes(CausalLm& structure, const LutLayers& layers, const LutConfig& config);

}  // namespace isogrid
