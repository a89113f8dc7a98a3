#include "models/rounding.h"

#include <algorithm>

#include "core/error.h"
#include "core/gguf_names.h"
#include "models/attach_adapters.h"
#include "models/gguf_mix.h"
#include "quant/fake_quant.h"
#include "quant/gguf_grid.h"

namespace isogrid {
namespace {

constexpr std::string_view kGguf = "gguf:";

std::string module_name(const std::string& tensor) {
  return tensor.substr(0, tensor.size() - std::string_view(".weight").size());
}

std::string known_targets() {
  std::string known;
  for (const GgufMix& mix : gguf_mixes())
    if (mix.is_quantised()) known += concat(known.empty() ? "" : ", ", kGguf, mix.variant);
  for (const GridRow& row : grid_rows())
    if (!row.name.starts_with(kGguf)) known += concat(", ", row.name);
  return known;
}

std::shared_ptr<const Grid> mixed_grid(const GgufMix& mix, const CausalLm& model,
                                       const std::string& name, int64_t columns) {
  const DecoderConfig& config = model.config;
  const MixModel shape{.architecture = find_gguf_architecture(config.architecture)->name,
                       .layers = config.layers,
                       .heads = config.heads,
                       .kv_heads = config.kv_heads,
                       .tied_head = config.tied_head};
  const GgufType& type = mixed_type(mix, shape, {}, *gguf_tensor_name(name), /*rank=*/2, columns);
  return std::make_shared<GgufGrid>(type);
}

TargetGrids grids_of_mix(CausalLm& model, const std::string& target) {
  const GgufMix* mix = find_gguf_mix(target.substr(kGguf.size()));
  if (mix == nullptr || !mix->is_quantised())
    fail(ExitCode::configuration, "qat_target: ", target, ": allowed are ", known_targets());
  if (find_gguf_architecture(model.config.architecture) == nullptr)
    fail(ExitCode::configuration, "qat_target: ", target, ": GGUF has no ",
         model.config.architecture, "; allowed are ", gguf_architecture_names());
  TargetGrids grids;
  visit_weights(model,
                [&](const std::string& name, std::shared_ptr<WeightSource>& weight, Linear*) {
                  grids[name] = mixed_grid(*mix, model, name, weight->inputs());
                });
  return grids;
}

/// The other formats leave embedding and head in sixteen bits.
TargetGrids grids_of_blocks(CausalLm& model, const std::string& target) {
  const auto rows = grid_rows();
  if (std::none_of(rows.begin(), rows.end(), [&](const GridRow& r) { return r.name == target; }))
    fail(ExitCode::configuration, "qat_target: ", target, ": allowed are ", known_targets());
  const std::shared_ptr<const Grid> grid = make_grid(target, "qat_target");
  TargetGrids grids;
  visit_linears(model, [&](const std::string& name, Linear&) { grids[name + ".weight"] = grid; });
  return grids;
}

void leave_out(TargetGrids& grids, const std::vector<std::string>& modules) {
  for (const std::string& module : modules) {
    const size_t erased = std::erase_if(grids, [&](const auto& entry) {
      return ends_module_name(module_name(entry.first), module);
    });
    if (erased == 0)
      fail(ExitCode::configuration, "qat_exclude: ", module,
           ": no rounded module of this model ends in that name; for example o_proj, "
           "layers.0.mlp.down_proj, embed_tokens");
  }
}

ScaleMode scale_mode(const std::string& name) {
  if (name == "learned") return ScaleMode::learned;
  return name == "frozen" ? ScaleMode::frozen : ScaleMode::derived;
}

FakeQuantOptions fake_quant_options(const QatConfig& config) {
  FakeQuantOptions options;
  options.scales = scale_mode(config.qat_scale_mode);
  options.clipped = config.qat_ste == "clipped";
  options.start_step = config.qat_start_step;
  options.refresh_steps = config.qat_refresh_steps;
  options.freeze_share = config.qat_freeze_share;
  return options;
}

/// The one tensor of a plain weight.
at::Tensor plain_tensor(WeightSource& weight, const std::string& name) {
  at::Tensor found;
  int slots = 0;
  weight.visit("", Role::weight, [&](const TensorSlot& slot) {
    ++slots;
    if (slot.name == ".weight" && slot.tensor->is_floating_point()) found = *slot.tensor;
  });
  if (slots != 1 || !found.defined())
    fail(ExitCode::configuration, "qat_target: ", name,
         " is held in few bits already; quantisation-aware training needs the weights themselves: "
         "leave quantization_bit out and name an unquantised model");
  return found;
}

/// llama.cpp multiplies blocks of 256 with blocks of 256, all others with blocks of 32.
ActivationRounding activation_rounding(const QatConfig& config, const Grid& grid) {
  if (config.qat_activations == "int8_token") return ActivationRounding::int8_token;
  if (config.qat_activations != "q8_block" || grid.block() == 1) return ActivationRounding::none;
  const bool super = grid.name().starts_with(kGguf) && grid.block() == 256;
  return super ? ActivationRounding::q8_k : ActivationRounding::q8_0;
}

void check_rounded_adapter(const Adapter& adapter) {
  if (adapter.magnitude.defined())
    fail(ExitCode::configuration,
         "qat_lora: merged: a DoRA adapter cannot be rounded together with its weight; use "
         "qat_lora: base or use_dora: false");
  if (adapter.dropout > 0)
    fail(ExitCode::configuration, "qat_lora: merged: lora_dropout = ", adapter.dropout,
         ": an adapter that is rounded into its weight has no input to drop; use lora_dropout: 0 "
         "or qat_lora: base");
}

}  // namespace

void visit_weights(CausalLm& model, const WeightVisitor& visitor) {
  const bool tied = model.head == model.embedding;
  visitor("model.embed_tokens.weight", model.embedding, nullptr);
  if (tied) model.head = model.embedding;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    visitor(name + ".weight", linear.weight, &linear);
  });
  if (!tied) visitor("lm_head.weight", model.head, nullptr);
}

TargetGrids target_grids(CausalLm& model, const QatConfig& config) {
  if (!config.qat_target) return {};
  const std::string& target = *config.qat_target;
  TargetGrids grids =
      target.starts_with(kGguf) ? grids_of_mix(model, target) : grids_of_blocks(model, target);
  leave_out(grids, config.qat_exclude);
  if (grids.empty())
    fail(ExitCode::configuration, "qat_exclude: leaves nothing for qat_target: ", target);
  return grids;
}

void round_to_target(CausalLm& model, const QatConfig& config) {
  const TargetGrids grids = target_grids(model, config);
  const FakeQuantOptions options = fake_quant_options(config);
  visit_weights(
      model, [&](const std::string& name, std::shared_ptr<WeightSource>& weight, Linear* linear) {
        const auto found = grids.find(name);
        if (found == grids.end()) return;
        weight = std::make_shared<FakeQuantWeight>(name, plain_tensor(*weight, name), found->second,
                                                   options);
        if (linear == nullptr) return;
        linear->activations = activation_rounding(config, *found->second);
        if (!linear->adapter || config.qat_lora != "merged") return;
        check_rounded_adapter(*linear->adapter);
        linear->rounds_sum = true;
      });
}

void begin_step(CausalLm& model, const StepInfo& step) {
  visit_weights(model,
                [&](const std::string&, std::shared_ptr<WeightSource>& weight, Linear* linear) {
                  const auto change = linear != nullptr ? rounded_change(*linear) : std::nullopt;
                  weight->begin_step(step, change ? &*change : nullptr);
                });
}

int64_t rounding_bytes(CausalLm& structure, const QatConfig& config, int64_t compute_bytes) {
  const TargetGrids grids = target_grids(structure, config);
  const bool keeps = config.qat_scale_mode != "derived",
             learns = config.qat_scale_mode == "learned";
  int64_t kept = 0, largest = 0;
  visit_weights(structure, [&](const std::string& name, std::shared_ptr<WeightSource>& weight,
                               Linear* linear) {
    const auto found = grids.find(name);
    if (found == grids.end()) return;
    const Grid& grid = *found->second;
    const int64_t rows = weight->outputs(), columns = weight->inputs(), count = rows * columns;
    if (keeps || grid.searches()) kept += rows * grid.row_bytes(columns);
    if (learns) kept += 4 * rows * grid.scales(columns);
    const bool merged = linear != nullptr && linear->adapter && config.qat_lora == "merged";
    const bool settled = !weight->trains() && !merged;
    if (settled) kept += count * compute_bytes;
    // The served weight; with an adapter its change, their sum and their gradient in float32.
    largest = std::max(largest, count * (compute_bytes + (merged ? 12 : 0)));
  });
  return kept + largest;
}

}  // namespace isogrid
