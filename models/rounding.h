#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "configs/qat_config.h"
#include "models/causal_lm.h"
#include "quant/grid.h"

namespace isogrid {

/// Every weight matrix under the name of its tensor: the embedding, the linears of the blocks, a
/// head of its own. `linear` is null where there is none.
using WeightVisitor = std::function<void(const std::string& name,
                                         std::shared_ptr<WeightSource>& weight, Linear* linear)>;
void visit_weights(CausalLm& model, const WeightVisitor& visitor);

/// The grid of each weight that the file named by qat_target holds in few bits, by tensor name:
/// mixes by their own rules, embedding and head with them; the grids of whole numbers for the
/// linears of the blocks. Without a target there are none. An unknown target, a module in
/// qat_exclude that is not there, and a target that leaves nothing to round are refused (78).
using TargetGrids = std::map<std::string, std::shared_ptr<const Grid>>;
TargetGrids target_grids(CausalLm& model, const QatConfig& config);

/// Serves those weights as the file will: rounded, the change of an adapter in them where qat_lora
/// is merged. To be called when the structure is final and before it is decided what trains.
void round_to_target(CausalLm& model, const QatConfig& config);

/// The schedules of all weights; before each step, and when a run is opened.
void begin_step(CausalLm& model, const StepInfo& step);

/// Bytes that rounding takes beside the weights: codes and gains that are kept, and what a pass
/// makes of the largest weight.
int64_t rounding_bytes(CausalLm& structure, const QatConfig& config, int64_t compute_bytes);

}  // namespace isogrid
