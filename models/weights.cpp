#include "models/weights.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "models/registry.h"
#include "models/stored_tensor.h"

namespace isogrid {
namespace {

/// At most this many problems are listed by name; a wrong folder would fill the screen.
constexpr size_t kListedProblems = 20;

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += concat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

bool is_float_type(Dtype type) {
  return type == Dtype::f32 || type == Dtype::bf16 || type == Dtype::f16 || type == Dtype::f64;
}

/// Tensors that older writers store beside the weights and that we compute or share.
bool is_redundant(const std::string& name, const DecoderConfig& config) {
  const auto ends_with = [&](std::string_view end) {
    return name.size() >= end.size() &&
           name.compare(name.size() - end.size(), end.size(), end) == 0;
  };
  return ends_with(".rotary_emb.inv_freq") || (config.tied_head && name == "lm_head.weight");
}

/// Part of a quantised weight: its type is none anybody computes in. Codes may be stored as if
/// they were numbers; then their scales lie beside them. Nor does the type of a weight that only
/// codes are made of say anything.
bool is_quantised_part(const WeightIndex& weights, const std::string& name) {
  if (!name.ends_with(".weight")) return !name.ends_with(".bias");
  const std::string module = name.substr(0, name.size() - std::string_view(".weight").size());
  for (const char* beside : {".weight.absmax", ".scale_A", ".raw_clip"})
    if (weights.find(module + beside) != nullptr) return true;
  return false;
}

class ProblemList {
 public:
  void add(const std::string& problem) {
    if (++count_ <= kListedProblems) text_ += "\n  " + problem;
  }
  void refuse_if_any(const std::string& where) const {
    if (count_ == 0) return;
    const std::string more =
        count_ > kListedProblems ? concat("\n  and ", count_ - kListedProblems, " more") : "";
    fail(ExitCode::refused_input, where, ": the tensors do not fit config.json:", text_, more);
  }

 private:
  size_t count_ = 0;
  std::string text_;
};

void check_tensor(const WeightLocation& location, at::IntArrayRef wanted, ProblemList& problems) {
  const TensorEntry& entry = *location.entry;
  if (!is_float_type(entry.dtype))
    problems.add(concat(entry.name, ": is ", dtype_name(entry.dtype),
                        ", allowed are F32, BF16, F16 and F64"));
  if (at::IntArrayRef(entry.shape) != wanted)
    problems.add(concat(entry.name, ": has shape ", shape_text(entry.shape),
                        ", config.json asks for ", shape_text(wanted)));
}

}  // namespace

at::ScalarType stored_type(const WeightIndex& weights) {
  std::map<Dtype, uint64_t> bytes;
  for (const WeightLocation& location : weights.tensors())
    if (is_float_type(location.entry->dtype) && !is_quantised_part(weights, location.name))
      bytes[location.entry->dtype] += location.entry->bytes();
  Dtype most = Dtype::f32;
  uint64_t largest = 0;
  for (const auto& [type, size] : bytes)
    if (size > largest) {
      most = type;
      largest = size;
    }
  return scalar_type(most);
}

namespace {

/// The linears that the folder keeps in few bits, by name.
std::map<std::string, std::shared_ptr<WeightSource>> read_quantised(CausalLm& model,
                                                                    const WeightIndex& weights,
                                                                    const LoadOptions& options,
                                                                    std::set<std::string>& used) {
  std::map<std::string, std::shared_ptr<WeightSource>> sources;
  if (!options.stored_as) return sources;
  const TensorLookup find = [&](const std::string& name) {
    const WeightLocation* location = weights.find(name);
    if (location == nullptr) return at::Tensor();
    used.insert(name);
    return stored_tensor(*location);
  };
  std::set<std::string> linears;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    linears.insert(name);
    auto source =
        options.stored_as->read(name, linear.weight->outputs(), linear.weight->inputs(), find);
    if (source) sources[name + ".weight"] = std::move(source);
  });
  options.stored_as->check_linears(linears);
  return sources;
}

void check_fit(CausalLm& model, const WeightIndex& weights, const std::string& where,
               const std::map<std::string, std::shared_ptr<WeightSource>>& quantised,
               std::set<std::string> known) {
  ProblemList problems;
  model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role) || slot.of_run || quantised.count(slot.name) != 0) return;
    known.insert(slot.name);
    const WeightLocation* location = weights.find(slot.name);
    if (location == nullptr)
      problems.add(slot.name + ": missing, config.json asks for " +
                   shape_text(slot.tensor->sizes()));
    else
      check_tensor(*location, slot.tensor->sizes(), problems);
  });
  for (const WeightLocation& location : weights.tensors())
    if (known.count(location.name) == 0 && !is_redundant(location.name, model.config))
      problems.add(location.name + ": not part of a " + model.config.architecture +
                   " of this shape");
  problems.refuse_if_any(where);
}

/// Puts the blocks' quantised linears in their places: those the folder has, and those made now.
void install_quantised(CausalLm& model, const WeightIndex& weights, const LoadOptions& options,
                       std::map<std::string, std::shared_ptr<WeightSource>> sources) {
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    const std::string weight = name + ".weight";
    const auto found = sources.find(weight);
    if (found != sources.end()) {
      linear.weight = found->second;
    } else if (options.quantise) {
      linear.weight = options.quantise(weight, stored_tensor(*weights.find(weight)));
    } else {
      return;
    }
    if (!options.device.is_cpu()) linear.weight->to(options.device);
  });
}

/// Puts the blocks of a GGUF file in the places of the matrices.
void install_blocks(CausalLm& model, const WeightIndex& weights) {
  visit_matrices(model, [&](const std::string& name, std::shared_ptr<WeightSource>& weight) {
    const WeightLocation* location = weights.find(name + ".weight");
    if (location == nullptr) return;
    if (auto blocks = stored_blocks(*location)) weight = std::move(blocks);
  });
}

bool holds_blocks(const WeightIndex& weights) {
  return std::any_of(weights.tensors().begin(), weights.tensors().end(),
                     [](const auto& location) { return stored_blocks(location) != nullptr; });
}

}  // namespace

void set_quantisation(LoadOptions& options, const QuantisationConfig& config,
                      const ModelFolder& folder) {
  options.stored_as = quantised_folder(folder.config, folder.path + "/config.json");
  std::string kept = options.stored_as ? std::string(options.stored_as->name()) : "";
  if (folder.files->gguf() && holds_blocks(WeightIndex(*folder.files->gguf()))) kept = "gguf";
  if (kept.empty()) {
    options.quantise = make_quantiser(config);
  } else if (config.quantization_bit && !kept.starts_with(config.quantization_method + ":")) {
    log_warning(concat("quantization_bit = ", *config.quantization_bit, ": ", folder.path,
                       " is quantised already (", kept, ") and is taken as it is"));
  }
}

void load_weights(CausalLm& model, const WeightIndex& weights, const LoadOptions& options,
                  const std::string& where) {
  const at::NoGradGuard no_grad;
  model.compute = options.compute.value_or(stored_type(weights));
  model.device = options.device;
  std::set<std::string> used;
  auto quantised = read_quantised(model, weights, options, used);
  check_fit(model, weights, where, quantised, std::move(used));
  install_quantised(model, weights, options, std::move(quantised));
  if (options.keep_blocks) install_blocks(model, weights);
  model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role) || is_quantised(slot.role) || slot.of_run) return;
    const at::Tensor stored = stored_tensor(*weights.find(slot.name));
    if (options.take && options.take(slot, stored)) return;
    *slot.tensor =
        slot.in_master ? stored.to(options.device) : stored.to(options.device, model.compute);
  });
}

QuantisedSize quantised_size(CausalLm& structure, const QuantisationConfig& config,
                             const ModelFolder& folder) {
  QuantisedSize size;
  const auto add = [&](int64_t outputs, int64_t inputs, int64_t bytes) {
    size.parameters += outputs * inputs;
    size.bytes += bytes;
    size.largest = std::max(size.largest, outputs * inputs);
  };
  if (folder.files->gguf()) {
    const WeightIndex weights(*folder.files->gguf());
    for (const WeightLocation& location : weights.tensors())
      if (stored_blocks(location))
        add(location.blocks->rows(), location.blocks->columns(),
            static_cast<int64_t>(location.blocks->bytes));
    if (size.parameters > 0) return size;
  }
  const bool stored = quantised_folder(folder.config, folder.path + "/config.json") != nullptr;
  if (!stored && !config.quantization_bit) return size;
  std::map<std::string, int64_t> bytes_of_module;
  if (stored) {
    const WeightIndex weights = open_weights(*folder.files);
    visit_linears(structure, [&](const std::string& name, Linear&) {
      for (const WeightLocation& location : weights.tensors())
        if (location.name.starts_with(name + ".") && !location.name.ends_with(".bias"))
          bytes_of_module[name] += static_cast<int64_t>(location.entry->bytes());
    });
  }
  visit_linears(structure, [&](const std::string& name, Linear& linear) {
    const int64_t outputs = linear.weight->outputs(), inputs = linear.weight->inputs();
    add(outputs, inputs, stored ? bytes_of_module[name] : quantised_bytes(config, outputs, inputs));
  });
  return size;
}

CausalLm load_model(const ModelFolder& folder, const LoadOptions& options) {
  CausalLm model = build_model(read_decoder_config(folder.config, folder.path + "/config.json"));
  LoadOptions with_format = options;
  if (!with_format.stored_as)
    with_format.stored_as = quantised_folder(folder.config, folder.path + "/config.json");
  load_weights(model, open_weights(*folder.files), with_format, folder.path);
  return model;
}

}  // namespace isogrid
