#include "models/peft.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "core/error.h"
#include "models/weight_index.h"
#include "quant/dense.h"

namespace isogrid {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr uint64_t kMaxConfigBytes = 16 << 20;

// Settings that change what the tensors mean; null, false, empty and absent are the plain thing.
constexpr const char* kUnknownKinds[] = {"alora_invocation_tokens",
                                         "arrow_config",
                                         "kasa_config",
                                         "velora_config",
                                         "use_bdlora",
                                         "use_qalora",
                                         "lora_bias",
                                         "fan_in_fan_out",
                                         "layer_replication",
                                         "target_parameters",
                                         "trainable_token_indices"};

bool is_plain(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_array() || value.is_object()) && value.empty());
}

void check_kind(const Json& config, const std::string& where) {
  const JsonFields fields(config, where);
  if (fields.string_or("peft_type", "LORA") != "LORA")
    fail(ExitCode::configuration, where, ": key 'peft_type': came ", fields.string("peft_type"),
         ", supported is LORA");
  for (const char* key : kUnknownKinds)
    if (config.contains(key) && !is_plain(config[key]))
      fail(ExitCode::configuration, where, ": key '", key, "': came ", config[key].dump(),
           ", not supported yet");
  const auto init = config.find("init_lora_weights");
  if (init != config.end() && init->is_string())
    for (const char* moved : {"pissa", "olora", "corda", "lora_ga"})
      if (init->get<std::string>().starts_with(moved))
        fail(ExitCode::configuration, where, ": key 'init_lora_weights': came ", init->dump(),
             ", and such an adapter belongs to a base changed at its start; save it as an ordinary "
             "one (pissa_convert here, path_initial_model_for_weight_conversion in PEFT)");
}

/// "(.*\.)?(KEY)$" is how PEFT reads a pattern. Keys that are plain names are all we take.
std::string plain_pattern(const std::string& key, const std::string& where) {
  std::string name;
  for (size_t i = 0; i < key.size(); ++i) {
    if (key[i] == '\\' && i + 1 < key.size() && key[i + 1] == '.') continue;
    if (i == 0 && key[i] == '^') continue;
    if (std::string_view("\\^$*+?()[]{}|").find(key[i]) != std::string_view::npos)
      fail(ExitCode::configuration, where, ": pattern '", key,
           "': only module names and their endings are supported");
    name += key[i];
  }
  return name;
}

AdapterSpec read_spec(const Json& config, const std::string& where) {
  const JsonFields fields(config, where);
  AdapterSpec spec;
  spec.rank = fields.integer_or("r", 8, 1);
  spec.alpha = fields.number_or("lora_alpha", 8);
  spec.dropout = fields.number_or("lora_dropout", 0.0);
  if (!(spec.dropout >= 0 && spec.dropout < 1))
    fields.refuse("lora_dropout", "a number from 0 to below 1");
  spec.rank_stabilised = fields.boolean_or("use_rslora", false);
  spec.dora = fields.boolean_or("use_dora", false);
  if (fields.has("target_modules") && fields.value("target_modules").is_array())
    spec.targets = fields.strings("target_modules");
  if (fields.has("rank_pattern"))
    for (const auto& [key, value] : fields.value("rank_pattern").items()) {
      if (!value.is_number_integer() || value.get<int64_t>() < 1)
        fields.refuse("rank_pattern", "an object of whole numbers from 1 on");
      spec.rank_pattern[plain_pattern(key, where)] = value.get<int64_t>();
    }
  if (fields.has("alpha_pattern"))
    for (const auto& [key, value] : fields.value("alpha_pattern").items()) {
      if (!value.is_number()) fields.refuse("alpha_pattern", "an object of numbers");
      spec.alpha_pattern[plain_pattern(key, where)] = value.get<double>();
    }
  return spec;
}

/// What the file holds for one module.
struct AdapterTensors {
  std::optional<at::Tensor> a, b, magnitude;
  bool of_embedding = false;
};

struct SortedTensors {
  std::map<std::string, AdapterTensors> adapters;  // by module
  std::map<std::string, at::Tensor> full;          // by tensor name
};

bool take_ending(std::string& name, std::string_view ending) {
  if (!name.ends_with(ending)) return false;
  name.resize(name.size() - ending.size());
  return true;
}

void take_out(std::string& name, std::string_view part) {
  if (const size_t at = name.find(part); at != std::string::npos) name.erase(at, part.size());
}

SortedTensors sort_tensors(const WeightIndex& weights, const std::string& where) {
  SortedTensors sorted;
  for (const WeightLocation& location : weights.tensors()) {
    std::string name = location.name;
    if (!name.starts_with(kPrefix))
      fail(ExitCode::refused_input, where, ": tensor '", name, "': PEFT's names begin with ",
           kPrefix);
    name.erase(0, kPrefix.size());
    at::Tensor tensor = view_tensor(location.file, *location.entry);
    if (!tensor.is_floating_point())
      fail(ExitCode::refused_input, where, ": tensor '", location.name,
           "': is not of a floating type");
    if (take_ending(name, ".lora_A.weight")) {
      sorted.adapters[name].a = tensor;
    } else if (take_ending(name, ".lora_B.weight")) {
      sorted.adapters[name].b = tensor;
    } else if (take_ending(name, ".lora_magnitude_vector") ||
               take_ending(name, ".lora_magnitude_vector.weight")) {
      sorted.adapters[name].magnitude = tensor.reshape({-1});
    } else if (take_ending(name, ".lora_embedding_A")) {
      sorted.adapters[name].a = tensor;
      sorted.adapters[name].of_embedding = true;
    } else if (take_ending(name, ".lora_embedding_B")) {
      sorted.adapters[name].b = tensor;
    } else {
      take_out(name, ".base_layer");
      take_out(name, ".modules_to_save");
      sorted.full[name] = tensor;
    }
  }
  return sorted;
}

class PeftProblems {
 public:
  void add(const std::string& text) {
    if (++count_ <= 20) text_ += "\n  " + text;
  }
  void refuse_if_any(const std::string& where) const {
    if (count_ > 0)
      fail(ExitCode::refused_input, where, ": the adapter does not fit the model:", text_,
           count_ > 20 ? concat("\n  and ", count_ - 20, " more") : "");
  }

 private:
  size_t count_ = 0;
  std::string text_;
};

bool fits(const AdapterTensors& tensors, int64_t in, int64_t out, const std::string& module,
          PeftProblems& problems) {
  if (!tensors.a || !tensors.b) {
    problems.add(module + ": has only one of lora_A and lora_B");
    return false;
  }
  const at::Tensor &a = *tensors.a, &b = *tensors.b;
  const bool right = a.dim() == 2 && b.dim() == 2 && a.size(0) == b.size(1) && a.size(0) > 0 &&
                     a.size(1) == in && b.size(0) == out &&
                     (!tensors.magnitude || tensors.magnitude->numel() == out);
  if (!right) {
    const auto shape = [](const at::Tensor& t) {
      std::string text = "[";
      for (int64_t i = 0; i < t.dim(); ++i) text += concat(i == 0 ? "" : ", ", t.size(i));
      return text + "]";
    };
    problems.add(concat(module, ": lora_A is ", shape(a), " and lora_B ", shape(b),
                        "; the weight asks for [rank, ", in, "] and [", out, ", rank]"));
  }
  return right;
}

double alpha_of(const AdapterSpec& spec, const std::string& module) {
  for (const auto& [ending, alpha] : spec.alpha_pattern)
    if (ends_module_name(module, ending)) return alpha;
  return spec.alpha;
}

Adapter make_adapter(const AdapterTensors& tensors, const AdapterSpec& spec,
                     const std::string& module, uint64_t stream, at::ScalarType type,
                     at::Device device) {
  const auto own = [&](const at::Tensor& tensor) {
    return tensor.to(device, type, /*non_blocking=*/false, /*copy=*/true);
  };
  Adapter adapter;
  adapter.a = own(*tensors.a);
  adapter.b = own(*tensors.b);
  if (tensors.magnitude) adapter.magnitude = own(*tensors.magnitude);
  adapter.alpha = alpha_of(spec, module);
  adapter.scale = adapter_scale(adapter.alpha, adapter.a.size(0), spec.rank_stabilised);
  adapter.dropout = spec.dropout;
  adapter.stream = stream;
  return adapter;
}

/// An adapter on the embedding or the head: added to the matrix, since only linears of blocks keep
/// theirs apart.
void merge_into_table(CausalLm& model, const std::string& module, const AdapterTensors& tensors,
                      const AdapterSpec& spec) {
  const bool head = module == "lm_head";
  if (model.head == model.embedding) untie_head(model);
  std::shared_ptr<WeightSource>& table = head ? model.head : model.embedding;
  const at::Tensor b = tensors.b->to(at::kFloat), a = tensors.a->to(at::kFloat);
  const double scale = adapter_scale(alpha_of(spec, module), a.size(0), spec.rank_stabilised);
  at::Tensor change = at::mm(b, a).mul_(scale);
  if (tensors.of_embedding) change = change.t();
  const at::Tensor sum = whole_weight(*table, at::kFloat, model.device) + change.to(model.device);
  table = std::make_shared<DenseWeight>(sum.to(model.compute));
}

void attach_to_blocks(CausalLm& model, SortedTensors& sorted, const PeftFolder& folder,
                      at::ScalarType type, PeftProblems& problems) {
  uint64_t stream = 0;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    const uint64_t own_stream = stream++;
    const auto found = sorted.adapters.find(name);
    if (found == sorted.adapters.end()) return;
    if (fits(found->second, linear.weight->inputs(), linear.weight->outputs(), name, problems))
      linear.adapter =
          make_adapter(found->second, folder.spec, name, own_stream, type, model.device);
    sorted.adapters.erase(found);
  });
}

void attach_to_tables(CausalLm& model, SortedTensors& sorted, const PeftFolder& folder,
                      PeftProblems& problems) {
  for (const char* module : {"model.embed_tokens", "lm_head"}) {
    const auto found = sorted.adapters.find(module);
    if (found == sorted.adapters.end()) continue;
    const bool flipped = found->second.of_embedding;
    const int64_t rows = model.config.vocabulary, columns = model.config.hidden;
    if (found->second.magnitude)
      problems.add(concat(module, ": DoRA on an embedding or head is not supported yet"));
    else if (fits(found->second, flipped ? rows : columns, flipped ? columns : rows, module,
                  problems))
      merge_into_table(model, module, found->second, folder.spec);
    sorted.adapters.erase(found);
  }
}

std::vector<std::string> replace_in_full(CausalLm& model, SortedTensors& sorted,
                                         at::ScalarType type, PeftProblems& problems) {
  if (model.head == model.embedding &&
      (sorted.full.count("lm_head.weight") + sorted.full.count("model.embed_tokens.weight")) > 0)
    untie_head(model);
  // A matrix in few bits gives way to one of numbers.
  visit_matrices(model, [&](const std::string& name, std::shared_ptr<WeightSource>& weight) {
    if (sorted.full.count(name + ".weight") > 0 && is_frozen_base(*weight))
      weight = unloaded_dense(weight->outputs(), weight->inputs());
  });
  std::vector<std::string> replaced;
  model.visit([&](const TensorSlot& slot) {
    const auto found = sorted.full.find(slot.name);
    if (found == sorted.full.end()) return;
    if (found->second.sizes() != slot.tensor->sizes())
      problems.add(slot.name + ": is of another shape than the model's");
    else
      *slot.tensor = found->second.to(model.device, type);
    replaced.push_back(slot.name);
    sorted.full.erase(found);
  });
  return replaced;
}

}  // namespace

PeftFolder open_peft_folder(const std::string& path) {
  PeftFolder folder;
  folder.path = path;
  folder.files = std::make_shared<const InputDirectory>(path);
  if (!folder.files->has("adapter_config.json"))
    fail(ExitCode::missing_input, folder.files->shown("adapter_config.json"),
         ": is missing; an adapter folder has adapter_config.json and adapter_model.safetensors");
  const std::string where = folder.files->shown("adapter_config.json");
  const Json config = parse_json(folder.files->read("adapter_config.json", kMaxConfigBytes), where);
  check_kind(config, where);
  folder.spec = read_spec(config, where);
  folder.base_model = JsonFields(config, where).string_or("base_model_name_or_path", "");
  return folder;
}

void untie_head(CausalLm& model) {
  const at::NoGradGuard no_grad;
  if (model.head != model.embedding) return;
  model.embedding =
      std::make_shared<DenseWeight>(whole_weight(*model.head, model.compute, model.device).clone());
  model.config.tied_head = false;
}

void expand_table(const CausalLm& model, std::shared_ptr<WeightSource>& table) {
  const at::NoGradGuard no_grad;
  if (is_frozen_base(*table))
    table = std::make_shared<DenseWeight>(whole_weight(*table, model.compute, model.device));
}

std::vector<std::string> attach_peft_adapters(CausalLm& model, const PeftFolder& folder,
                                              at::ScalarType type) {
  const at::NoGradGuard no_grad;
  SortedTensors sorted = sort_tensors(open_weights(*folder.files, "adapter_model"), folder.path);
  PeftProblems problems;
  attach_to_blocks(model, sorted, folder, type, problems);
  attach_to_tables(model, sorted, folder, problems);
  std::vector<std::string> replaced = replace_in_full(model, sorted, type, problems);
  for (const auto& [module, tensors] : sorted.adapters)
    problems.add(module + ": the model has no such linear");
  for (const auto& [name, tensor] : sorted.full)
    problems.add(name + ": the model has no such tensor");
  problems.refuse_if_any(folder.path);
  refresh_row_lengths(model);
  return replaced;
}

std::vector<NamedTensor> peft_tensors(CausalLm& model, const std::vector<std::string>& in_full,
                                      const StoredValue& value) {
  const std::set<std::string> full(in_full.begin(), in_full.end());
  std::vector<NamedTensor> tensors;
  model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role) || full.count(slot.name) > 0)
      tensors.push_back({std::string(kPrefix) + slot.name, value(slot)});
  });
  return tensors;
}

namespace {

/// The last part of a module's name, which PEFT's lists name it by.
std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

std::set<std::string> modules_of(const std::vector<std::string>& tensors) {
  std::set<std::string> modules;
  for (const std::string& name : tensors) modules.insert(name.substr(0, name.rfind('.')));
  return modules;
}

}  // namespace

Json peft_config(CausalLm& model, const AdapterSpec& spec, const std::string& base_model,
                 const std::vector<std::string>& in_full) {
  std::set<std::string> targets, all_of_kind;
  Json ranks = Json::object(), alphas = Json::object();
  bool by_kind = true;  // every linear of a targeted kind has an adapter
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (linear.adapter) all_of_kind.insert(last_part(name));
  });
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (!linear.adapter) {
      by_kind = by_kind && all_of_kind.count(last_part(name)) == 0;
      return;
    }
    targets.insert(name);
    if (linear.adapter->rank() != spec.rank) ranks[name] = linear.adapter->rank();
    if (linear.adapter->alpha != spec.alpha) alphas[name] = linear.adapter->alpha;
  });
  Json config = Json::object();
  config["alpha_pattern"] = alphas;
  config["base_model_name_or_path"] = base_model;
  config["bias"] = "none";
  config["fan_in_fan_out"] = false;
  config["inference_mode"] = true;
  config["init_lora_weights"] = true;
  config["layers_pattern"] = nullptr;
  config["layers_to_transform"] = nullptr;
  config["lora_alpha"] = spec.alpha == static_cast<double>(static_cast<int64_t>(spec.alpha))
                             ? Json(static_cast<int64_t>(spec.alpha))
                             : Json(spec.alpha);
  config["lora_dropout"] = spec.dropout;
  config["modules_to_save"] = nullptr;
  if (!in_full.empty()) config["modules_to_save"] = modules_of(in_full);
  config["peft_type"] = "LORA";
  config["r"] = spec.rank;
  config["rank_pattern"] = ranks;
  config["revision"] = nullptr;
  config["target_modules"] = by_kind ? all_of_kind : targets;
  config["task_type"] = "CAUSAL_LM";
  config["use_dora"] = spec.dora;
  config["use_rslora"] = spec.rank_stabilised;
  return config;
}

}  // namespace isogrid
