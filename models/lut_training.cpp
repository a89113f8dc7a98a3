#include "models/lut_training.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "core/error.h"
#include "quant/lut_v1.h"
#include "quant/lut_v2.h"

namespace isogrid {
namespace {

constexpr std::string_view kMagnitudes = ".rank_magnitude";
constexpr std::string_view kLogits = ".lut_logits";
constexpr std::string_view kLatent = ".weight";

/// Which words of lut_train let a part of a layer train.
struct LutTrainable {
  std::string_view part;
  std::string_view by, or_by;
};
constexpr LutTrainable kLutTrainables[] = {
    {".scale_A", "scales", ""},  {".scale_B", "scales", ""}, {kMagnitudes, "scales", "magnitudes"},
    {".raw_clip", "scales", ""}, {kLogits, "table", ""},     {kLatent, "weights", ""},
};

bool lists(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool in_family(std::string_view family, const std::string& linear) {
  return family == "all" || (family == "mlp") == is_mlp(linear);
}

bool freezes_magnitudes(const LutConfig& config, const std::string& linear) {
  return config.lut_freeze_magnitudes != "none" && in_family(config.lut_freeze_magnitudes, linear);
}

LutTable* table_of(WeightSource& weight) {
  if (auto* v2 = dynamic_cast<LutV2Weight*>(&weight)) return &v2->parts().table;
  if (auto* v1 = dynamic_cast<LutV1Weight*>(&weight)) return &v1->parts().table;
  return nullptr;
}

void prepare_table(const std::string& name, LutTable& table) {
  if (!is_symmetric(table.values))
    fail(ExitCode::configuration, "lut_train: table: the table of ", name,
         " is not symmetric, and only symmetric ones train; leave table out");
  give_logits(table);
}

/// What only a loaded layer can tell: whether its weights would train in vain.
void check_latent(const std::string& name, const WeightSource& weight, const LutConfig& config) {
  const auto* v2 = dynamic_cast<const LutV2Weight*>(&weight);
  if (v2 == nullptr || !lists(config.lut_train, "weights") || config.lut_recode_steps > 0) return;
  fail(ExitCode::configuration, "lut_train: weights: the codes of ", name,
       " (lut_parameters: v2) follow their weights only where they are renewed; set "
       "lut_recode_steps, or use lut_parameters: v1 or balanced");
}

LutLayer layer_of_weight(const WeightSource& weight) {
  LutLayer layer;
  layer.parameters = lut_parameters(weight);
  if (const auto* v2 = dynamic_cast<const LutV2Weight*>(&weight)) layer.baked = v2->parts().baked;
  return layer;
}

/// Marks what trains of one layer; false: nothing does.
bool train_layer(const std::string& name, WeightSource& weight, const LutConfig& config) {
  const LutLayer layer = layer_of_weight(weight);
  LutTable* table = table_of(weight);
  if (table != nullptr && trains_lut_part(config, name, layer, kLogits))
    prepare_table(name, *table);
  if (trains_lut_part(config, name, layer, kLatent)) check_latent(name, weight, config);
  auto* v2 = dynamic_cast<LutV2Weight*>(&weight);
  if (v2 != nullptr && freezes_magnitudes(config, name)) v2->snap_magnitudes();
  bool trains = false;
  weight.visit("", Role::weight, [&](const TensorSlot& slot) {
    if (!trains_lut_part(config, name, layer, slot.name)) return;
    slot.tensor->requires_grad_();
    trains = true;
  });
  return trains;
}

}  // namespace

bool is_mlp(const std::string& linear) { return linear.find(".mlp.") != std::string::npos; }

std::vector<LutPartSize> lut_parts(const LutLayer& layer, const LutConfig& config, int64_t outputs,
                                   int64_t inputs) {
  if (layer.parameters == "balanced") return {{".raw_clip", 1}, {kLatent, outputs * inputs}};
  std::vector<LutPartSize> parts = {{".scale_A", outputs * layer.rank},
                                    {".scale_B", layer.rank * inputs},
                                    {kLogits, int64_t{1} << (layer.bits - 1)}};
  if (layer.parameters == "v2") parts.push_back({kMagnitudes, layer.rank});
  if (layer.parameters == "v1" || config.lut_recode_steps > 0)
    parts.push_back({kLatent, outputs * inputs});
  return parts;
}

bool trains_lut_part(const LutConfig& config, const std::string& linear, const LutLayer& layer,
                     std::string_view part) {
  if (!in_family(config.lut_families, linear)) return false;
  if (part == kMagnitudes && (layer.baked || freezes_magnitudes(config, linear))) return false;
  return std::any_of(std::begin(kLutTrainables), std::end(kLutTrainables), [&](const auto& row) {
    return row.part == part &&
           (lists(config.lut_train, row.by) || lists(config.lut_train, row.or_by));
  });
}

bool trains_lut_norm(const LutConfig& config, const std::string& tensor) {
  return lists(config.lut_train, "norms") &&
         (tensor == "model.norm.weight" || tensor.ends_with(".input_layernorm.weight") ||
          tensor.ends_with(".post_attention_layernorm.weight"));
}

void train_lut_layers(CausalLm& model, const LutConfig& config) {
  const at::NoGradGuard no_grad;
  bool trains = false;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    trains = train_lut_linear(name, linear, config) || trains;
  });
  model.visit([&](const TensorSlot& slot) {
    if (slot.role != Role::norm || !trains_lut_norm(config, slot.name)) return;
    slot.tensor->requires_grad_();
    trains = true;
  });
  if (trains) return;
  std::string wanted;
  for (const std::string& word : config.lut_train) wanted += (wanted.empty() ? "" : ", ") + word;
  fail(ExitCode::configuration, "lut_train: ", wanted, ", lut_families: ", config.lut_families,
       ", lut_freeze_magnitudes: ", config.lut_freeze_magnitudes,
       ": together they leave nothing of this model to train");
}

bool train_lut_linear(const std::string& name, Linear& linear, const LutConfig& config) {
  const at::NoGradGuard no_grad;
  return !lut_parameters(*linear.weight).empty() && train_layer(name, *linear.weight, config);
}

std::vector<TensorSlot> trained_magnitudes(CausalLm& model) {
  std::vector<TensorSlot> slots;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    linear.weight->visit(name, Role::weight, [&](const TensorSlot& slot) {
      if (slot.name.ends_with(kMagnitudes) && slot.tensor->requires_grad()) slots.push_back(slot);
    });
  });
  return slots;
}

void round_to_half(at::Tensor& tensor) {
  const at::NoGradGuard no_grad;
  tensor.copy_(as_half(tensor.detach()));
}

double largest_change(const at::Tensor& now, const at::Tensor& before) {
  return relative_change(now, before);
}

}  // namespace isogrid
