#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "configs/qat_config.h"
#include "models/causal_lm.h"
#include "quant/lut_folder.h"

namespace isogrid {

/// Is it a linear of an MLP? The others are attention's.
bool is_mlp(const std::string& linear);

/// A part of a layer that may train: ".scale_A" and its size.
struct LutPartSize {
  std::string_view name;
  int64_t numbers = 0;
};
std::vector<LutPartSize> lut_parts(const LutLayer& layer, const LutConfig& config, int64_t outputs,
                                   int64_t inputs);

/// Does this part of this linear train? lut_train says which parts, lut_families in which linears,
/// lut_freeze_magnitudes takes magnitudes out again.
bool trains_lut_part(const LutConfig& config, const std::string& linear, const LutLayer& layer,
                     std::string_view part);

/// Does this norm train, by lut_train: norms? Those of the residual stream do, those of queries and
/// keys do not.
bool trains_lut_norm(const LutConfig& config, const std::string& tensor);

/// Marks all of them, gives tables that train their logits, and rounds magnitudes that are held
/// fixed to float16. What would leave nothing to train, or train something in vain, is refused
/// (78).
void train_lut_layers(CausalLm& model, const LutConfig& config);

/// The same for one linear; false: nothing of it trains.
bool train_lut_linear(const std::string& name, Linear& linear, const LutConfig& config);

/// The magnitudes that train, in the order of the model.
std::vector<TensorSlot> trained_magnitudes(CausalLm& model);

/// Rounds to what float16 holds, in place.
void round_to_half(at::Tensor& tensor);

/// The largest relative change of a number.
double largest_change(const at::Tensor& now, const at::Tensor& before);

}  // namespace isogrid
