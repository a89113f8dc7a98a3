#include "trainer/what_trains.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "models/peft.h"

namespace isogrid {
namespace {

bool is_all(const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), "all") != names.end();
}

std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

std::string joined(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// "model.layers.3.self_attn.q_proj.weight" -> 3; -1 outside the blocks.
int64_t layer_of(const std::string& tensor) {
  constexpr std::string_view kStart = "model.layers.";
  return tensor.starts_with(kStart) ? std::stoll(tensor.substr(kStart.size())) : -1;
}

/// The parts of a name below its block: {"self_attn", "q_proj"}.
std::vector<std::string> parts_below_block(const std::string& tensor) {
  std::vector<std::string> parts;
  std::string rest = module_of(tensor);
  for (int skipped = 0; !rest.empty();) {
    const size_t dot = rest.find('.');
    if (++skipped > 3) parts.push_back(rest.substr(0, dot));
    rest = dot == std::string::npos ? "" : rest.substr(dot + 1);
  }
  return parts;
}

bool is_trained_layer(int64_t layer, int64_t layers, int64_t wanted) {
  return wanted >= 0 ? layer >= layers - wanted : layer < -wanted;
}

void set_trains(const TensorSlot& slot) {
  if (!is_fixed(slot.role)) slot.tensor->requires_grad_();
}

}  // namespace

void train_all(CausalLm& model) { model.visit(set_trains); }

void train_adapters(CausalLm& model) {
  model.visit([](const TensorSlot& slot) {
    const bool learned_scale = slot.of_run && slot.role == Role::factor;
    if (is_adapter(slot.role) || learned_scale) set_trains(slot);
  });
}

void train_some_layers(CausalLm& model, const FinetuningConfig& config) {
  if (config.freeze_trainable_layers == 0 && config.freeze_extra_modules.empty())
    fail(ExitCode::configuration,
         "freeze_trainable_layers: came 0 without freeze_extra_modules, so nothing would train");
  std::set<std::string> in_blocks, outside, unmatched;
  const bool all = is_all(config.freeze_trainable_modules);
  if (!all)
    unmatched.insert(config.freeze_trainable_modules.begin(),
                     config.freeze_trainable_modules.end());
  std::set<std::string> unmatched_extra(config.freeze_extra_modules.begin(),
                                        config.freeze_extra_modules.end());
  model.visit([&](const TensorSlot& slot) {
    const int64_t layer = layer_of(slot.name);
    if (layer < 0) {
      const std::string module = module_of(slot.name);
      outside.insert(module.substr(module.rfind('.') + 1));
      for (const std::string& wanted : config.freeze_extra_modules)
        if (ends_module_name(module, wanted)) {
          set_trains(slot);
          unmatched_extra.erase(wanted);
        }
      return;
    }
    bool chosen = all;
    for (const std::string& part : parts_below_block(slot.name)) {
      in_blocks.insert(part);
      for (const std::string& wanted : config.freeze_trainable_modules)
        if (part == wanted) {
          chosen = true;
          unmatched.erase(wanted);
        }
    }
    if (chosen && is_trained_layer(layer, static_cast<int64_t>(model.blocks.size()),
                                   config.freeze_trainable_layers))
      set_trains(slot);
  });
  if (!unmatched.empty())
    fail(ExitCode::configuration, "freeze_trainable_modules: ", joined(unmatched),
         ": not part of a block; allowed are all, ", joined(in_blocks));
  if (!unmatched_extra.empty())
    fail(ExitCode::configuration, "freeze_extra_modules: ", joined(unmatched_extra),
         ": not outside the blocks; allowed are ", joined(outside));
}

std::vector<std::string> train_in_full(CausalLm& model, const std::vector<std::string>& modules) {
  const auto means = [](const std::string& module, const std::string& wanted) {
    return module.ends_with(wanted);  // as PEFT matches modules_to_save: not by whole parts
  };
  const auto names = [&](const char* module) {
    return std::any_of(modules.begin(), modules.end(),
                       [&](const std::string& wanted) { return means(module, wanted); });
  };
  if (names("lm_head") || names("model.embed_tokens")) untie_head(model);
  if (names("lm_head")) expand_table(model, model.head);
  if (names("model.embed_tokens")) expand_table(model, model.embedding);
  std::set<std::string> unmatched(modules.begin(), modules.end()), known;
  std::vector<std::string> tensors;
  model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role)) return;
    const std::string module = module_of(slot.name);
    known.insert(module.substr(module.rfind('.') + 1));
    bool wanted_here = false;
    for (const std::string& wanted : modules)
      if (means(module, wanted)) {
        wanted_here = true;
        unmatched.erase(wanted);
      }
    if (!wanted_here) return;
    if (is_ingredient(slot.role))
      fail(ExitCode::configuration, "additional_target: ", joined({modules.begin(), modules.end()}),
           ": ", slot.name, " is part of the quantised base, which is frozen");
    set_trains(slot);
    tensors.push_back(slot.name);
  });
  if (!unmatched.empty())
    fail(ExitCode::configuration, "additional_target: ", joined(unmatched),
         ": names no module of this model; allowed are endings of ", joined(known));
  return tensors;
}

AdapterSpec adapter_spec(const FinetuningConfig& config) {
  AdapterSpec spec;
  spec.rank = config.lora_rank;
  spec.alpha = static_cast<double>(config.lora_alpha.value_or(2 * config.lora_rank));
  spec.dropout = config.lora_dropout;
  spec.rank_stabilised = config.use_rslora;
  spec.dora = config.use_dora;
  spec.targets = config.lora_target;
  return spec;
}

}  // namespace isogrid
