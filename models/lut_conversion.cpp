#include "models/lut_conversion.h"

#include <ATen/core/grad_mode.h>

#include "core/error.h"
#include "quant/lut_balanced.h"
#include "quant/lut_convert.h"

namespace isogrid {
namespace {

LutLayer layer_of(const WeightSource& weight) {
  LutLayer layer;
  layer.parameters = lut_parameters(weight);
  if (const auto* v2 = dynamic_cast<const LutV2Weight*>(&weight)) {
    layer.bits = v2->parts().bits();
    layer.rank = v2->parts().g.size(0);
    layer.baked = v2->parts().baked;
  } else if (const auto* v1 = dynamic_cast<const LutV1Weight*>(&weight)) {
    layer.bits = v1->bits();
    layer.rank = v1->parts().a.size(1);
  } else if (const auto* balanced = dynamic_cast<const BalancedWeight*>(&weight)) {
    layer.bits = balanced->bits();
  }
  return layer;
}

std::string described(const LutLayer& layer) {
  if (layer.parameters.empty()) return "dense";
  return concat(layer.parameters, ", ", layer.bits, " bits",
                layer.parameters == "balanced" ? "" : concat(", rank ", layer.rank));
}

bool is_already(const LutLayer& there, const LutLayer& wanted) {
  return there.parameters == wanted.parameters && there.bits == wanted.bits &&
         (there.parameters == "balanced" || there.rank == wanted.rank);
}

/// One conversion of one layer.
class LayerChange {
 public:
  LayerChange(const std::string& name, const LutConversion& conversion)
      : name_(name),
        conversion_(conversion),
        half_(conversion.config.lut_ste_fp16),
        importance_(conversion.importance ? conversion.importance(name) : at::Tensor()) {}

  std::shared_ptr<WeightSource> made(const std::shared_ptr<WeightSource>& from, const LutLayer& to,
                                     const at::Tensor& wanted) const {
    if (to.parameters == "v2") {
      if (const auto* v1 = dynamic_cast<const LutV1Weight*>(from.get())) {
        auto v2 = served(v2_of_v1(name_, *v1, half_));
        return is_already(layer_of(*v2), to) ? v2 : narrowed_layer(*v2, to, wanted);
      }
      if (const auto* v2 = dynamic_cast<const LutV2Weight*>(from.get()))
        return narrowed_layer(*v2, to, wanted);
    }
    return started_lut_layer(name_, wanted, to, conversion_.config, importance_, conversion_.seed);
  }

  const at::Tensor& importance() const { return importance_; }

 private:
  std::shared_ptr<WeightSource> served(LutV2Parts parts) const {
    return std::make_shared<LutV2Weight>(name_, std::move(parts), LutV2Options{.half = half_});
  }
  std::shared_ptr<WeightSource> narrowed_layer(const WeightSource& from, const LutLayer& to,
                                               const at::Tensor& wanted) const {
    const LutNarrowing narrowing{.bits = to.bits,
                                 .rank = to.rank,
                                 .half = half_,
                                 .importance = importance_,
                                 .seed = conversion_.seed};
    return served(narrowed(name_, dynamic_cast<const LutV2Weight&>(from), wanted, narrowing));
  }

  const std::string& name_;
  const LutConversion& conversion_;
  bool half_;
  at::Tensor importance_;
};

at::Tensor wanted_weight(const LutConversion& conversion, const std::string& name,
                         const WeightSource& weight) {
  at::Tensor wanted = conversion.wanted ? conversion.wanted(name) : at::Tensor();
  if (!wanted.defined()) return whole_weight(weight, at::kFloat, at::kCPU);
  if (wanted.sizes() != at::IntArrayRef({weight.outputs(), weight.inputs()}))
    fail(ExitCode::configuration, "reference: its ", name, " is ", wanted.size(0), " x ",
         wanted.size(1), ", this model's ", weight.outputs(), " x ", weight.inputs(),
         "; name the model it was made from");
  return wanted.to(at::kFloat);
}

}  // namespace

LutLayers converted_lut_layers(CausalLm& structure, const LutLayers& stored,
                               const LutConfig& config, const std::optional<std::string>& form) {
  LutConfig settings = config;
  if (form) settings.lut_parameters = *form;
  LutLayers layers = stored;
  if (form)
    for (auto& [name, layer] : layers) {
      if (layer.parameters == "balanced" && *form != "balanced" && !makes_lut_layers(config))
        fail(ExitCode::configuration, "convert: --to ", *form, ": ", name,
             " has no rank yet; give a lut_preset, or bits and ranks (lut_mlp_bits, ...)");
      layer.parameters = *form;
      if (*form == "balanced") layer.rank = 0;
      if (*form != "v2") layer.baked = false;
    }
  if (makes_lut_layers(config))
    for (const auto& [name, layer] : planned_lut_layers(structure, settings)) layers[name] = layer;
  return layers;
}

std::vector<LutChange> convert_lut_layers(CausalLm& model, const LutLayers& layers,
                                          const LutConversion& conversion,
                                          const std::function<void(int64_t done)>& progress) {
  const at::NoGradGuard no_grad;
  std::vector<LutChange> changes;
  int64_t done = 0;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    const auto planned = layers.find(name);
    if (planned == layers.end()) return;
    const LutLayer there = layer_of(*linear.weight);
    LutChange change{name, described(there), described(planned->second), 0};
    const at::Tensor wanted = wanted_weight(conversion, name, *linear.weight);
    const LayerChange maker(name, conversion);
    if (!is_already(there, planned->second))
      linear.weight = maker.made(linear.weight, planned->second, wanted);
    change.error = weighted_error(whole_weight(*linear.weight, at::kFloat, at::kCPU), wanted,
                                  maker.importance());
    changes.push_back(std::move(change));
    progress(++done);
  });
  return changes;
}

}  // namespace isogrid
