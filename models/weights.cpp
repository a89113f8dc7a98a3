#include "models/weights.h"

#include <ATen/core/grad_mode.h>

#include <map>
#include <set>

#include "core/error.h"
#include "core/tensor_file.h"
#include "models/registry.h"

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
    if (is_float_type(location.entry->dtype))
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

void load_weights(CausalLm& model, const WeightIndex& weights, const LoadOptions& options,
                  const std::string& where) {
  const at::NoGradGuard no_grad;
  model.compute = options.compute.value_or(stored_type(weights));
  model.device = options.device;

  ProblemList problems;
  std::set<std::string> known;
  model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role) || slot.of_run) return;
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

  model.visit([&](const TensorSlot& slot) {
    if (is_adapter(slot.role) || slot.of_run) return;
    const WeightLocation& location = *weights.find(slot.name);
    if (options.take && options.take(slot, view_tensor(location.file, *location.entry))) return;
    const at::Tensor stored = view_tensor(location.file, *location.entry);
    *slot.tensor =
        slot.in_master ? stored.to(options.device) : stored.to(options.device, model.compute);
  });
}

CausalLm load_model(const ModelFolder& folder, const LoadOptions& options) {
  CausalLm model = build_model(read_decoder_config(folder.config, folder.path + "/config.json"));
  load_weights(model, open_weights(*folder.files), options, folder.path);
  return model;
}

}  // namespace isogrid
