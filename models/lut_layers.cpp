#include "models/lut_layers.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "core/error.h"
#include "models/lut_training.h"
#include "quant/lut_start.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

/// Layers are made side by side as long as their work together stays below.
constexpr int64_t kStartBytes = int64_t{2} << 30;
constexpr int64_t kCopiesOfWeight = 12;

/// The size of a family's layers; without bits they stay dense.
struct LutFamily {
  const char* bits_key;
  const char* rank_key;
  std::optional<int64_t> bits, rank;
};

LutFamily lut_family(const LutConfig& config, bool mlp) {
  LutFamily family{mlp ? "lut_mlp_bits" : "lut_attention_bits",
                   mlp ? "lut_mlp_rank" : "lut_attention_rank",
                   mlp ? config.lut_mlp_bits : config.lut_attention_bits,
                   mlp ? config.lut_mlp_rank : config.lut_attention_rank};
  if (!config.lut_preset) return family;
  const LutPreset& preset = lut_preset(*config.lut_preset);
  if (!family.bits) family.bits = mlp ? preset.mlp_bits : preset.attention_bits;
  if (!family.rank) family.rank = mlp ? preset.mlp_rank : preset.attention_rank;
  return family;
}

LutLayer planned_layer(const LutConfig& config, const std::string& name, const Linear& linear,
                       const LutFamily& family) {
  LutLayer layer;
  layer.parameters = config.lut_parameters;
  if (*family.bits != 2 && *family.bits != 4)
    fail(ExitCode::configuration, family.bits_key, ": came ", *family.bits,
         ", allowed are 2 and 4");
  layer.bits = static_cast<int>(*family.bits);
  if (config.lut_parameters == "balanced") return layer;
  if (!family.rank)
    fail(ExitCode::configuration, family.rank_key, ": is missing; give it beside ", family.bits_key,
         ", or a lut_preset");
  layer.rank = *family.rank;
  const int64_t outputs = linear.weight->outputs(), inputs = linear.weight->inputs();
  if (layer.rank > std::min(outputs, inputs))
    fail(ExitCode::configuration, family.rank_key, ": came ", layer.rank,
         config.lut_preset ? concat(" (lut_preset: ", *config.lut_preset, ")") : "", ", and ", name,
         " is of shape ", outputs, " x ", inputs, ", which allows up to ",
         std::min(outputs, inputs));
  return layer;
}

ClipStart clip_start(LutStart start) {
  return start == LutStart::max_abs ? ClipStart::percentile : ClipStart::newton;
}

/// Bytes that making a layer takes at most: copies of the weight and, for least squares, the outer
/// products of one factor.
int64_t start_bytes(const Linear& linear, const LutLayer& layer) {
  const int64_t outputs = linear.weight->outputs(), inputs = linear.weight->inputs();
  return 4 *
         (kCopiesOfWeight * outputs * inputs + layer.rank * layer.rank * std::max(outputs, inputs));
}

struct StartJob {
  std::string name;
  Linear* linear;
  const LutLayer* layer;
};

/// `work` for every job, on so many threads, each job on one of them.
void share_out(int64_t jobs, int64_t workers, const std::function<void(int64_t)>& work) {
  std::atomic<int64_t> next = 0;
  at::parallel_for(0, workers, 1, [&](int64_t first, int64_t last) {
    for (int64_t worker = first; worker < last; ++worker)
      for (int64_t job = next++; job < jobs; job = next++) work(job);
  });
}

}  // namespace

std::shared_ptr<WeightSource> started_lut_layer(const std::string& name, const at::Tensor& dense,
                                                const LutLayer& layer, const LutConfig& config,
                                                const at::Tensor& importance, uint64_t seed) {
  const LutStart start = lut_start(config.lut_init);
  if (layer.parameters == "balanced") {
    const double clip =
        starting_clip(dense, layer.bits, clip_start(start), seed, /*percentile=*/100);
    const at::Tensor raw = at::full({1}, raw_of_clip(clip), dense.options().dtype(at::kFloat));
    return std::make_shared<BalancedWeight>(dense, raw, layer.bits, config.lut_ste_fp16);
  }
  const LutStartOptions options{.bits = layer.bits,
                                .rank = layer.rank,
                                .group = std::min(config.lut_group_size, dense.size(1)),
                                .start = start,
                                .half = config.lut_ste_fp16,
                                .importance = importance,
                                .seed = seed};
  if (layer.parameters == "v1") {
    LutV1Parts parts = start_lut_v1(name, dense, options);
    parts.latent = dense;  // where it lies, until it trains
    return std::make_shared<LutV1Weight>(name, std::move(parts));
  }
  LutV2Parts parts = start_lut_v2(name, dense, options);
  if (config.lut_recode_steps > 0) parts.latent = dense;
  return std::make_shared<LutV2Weight>(name, std::move(parts),
                                       LutV2Options{.half = config.lut_ste_fp16});
}

bool makes_lut_layers(const LutConfig& config) {
  return config.lut_preset || config.lut_mlp_bits || config.lut_attention_bits;
}

LutLayers planned_lut_layers(CausalLm& structure, const LutConfig& config) {
  LutLayers layers;
  visit_linears(structure, [&](const std::string& name, Linear& linear) {
    const LutFamily family = lut_family(config, is_mlp(name));
    if (family.bits) layers[name] = planned_layer(config, name, linear, family);
  });
  return layers;
}

LutLayers stored_lut_layers(const ModelFolder& folder) {
  const auto found = folder.config.find("quantization_config");
  if (found == folder.config.end() || !found->is_object()) return {};
  const auto method = found->find("quant_method");
  if (method == found->end() || *method != kLutMethod) return {};
  return lut_layers_of(*found, folder.path + "/config.json");
}

bool has_lut_layers(CausalLm& model) {
  bool found = false;
  visit_linears(model, [&](const std::string&, Linear& linear) {
    found = found || !lut_parameters(*linear.weight).empty();
  });
  return found;
}

void start_lut_layers(CausalLm& model, const LutLayers& layers, const LutConfig& config,
                      uint64_t seed, const std::function<void(int64_t done)>& progress) {
  std::vector<StartJob> jobs;
  int64_t most = 1;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    const auto layer = layers.find(name);
    if (layer == layers.end()) return;
    jobs.push_back({name, &linear, &layer->second});
    most = std::max(most, start_bytes(linear, layer->second));
  });
  const int64_t room = std::max<int64_t>(1, kStartBytes / most);
  const int64_t workers =
      model.device.is_cpu() ? std::min<int64_t>(room, at::get_num_threads()) : 1;
  std::mutex telling;
  int64_t done = 0;
  share_out(static_cast<int64_t>(jobs.size()), workers, [&](int64_t i) {
    const at::NoGradGuard no_grad;
    const StartJob& job = jobs[static_cast<size_t>(i)];
    const auto source = job.linear->weight;
    at::Tensor dense;
    source->visit("", Role::weight, [&](const TensorSlot& slot) { dense = *slot.tensor; });
    job.linear->weight =
        started_lut_layer(job.name, dense, *job.layer, config, /*importance=*/{}, seed);
    const std::lock_guard<std::mutex> lock(telling);
    progress(++done);
  });
}

void set_lut_schedule(CausalLm& model, const LutConfig& config, std::optional<bool> half) {
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (auto* balanced = dynamic_cast<BalancedWeight*>(linear.weight.get()))
      balanced->set_half(half.value_or(balanced->half()));
    auto* v2 = dynamic_cast<LutV2Weight*>(linear.weight.get());
    if (v2 == nullptr) return;
    LutV2Options options = v2->options();
    options.half = half.value_or(options.half);
    options.forward = lut_forward(config.lut_forward);
    options.recode_steps = config.lut_recode_steps;
    options.hysteresis = config.lut_recode_hysteresis;
    v2->set_options(options);
    if (config.lut_recode_steps == 0)
      v2->parts().latent = at::Tensor();
    else if (!v2->parts().latent.defined())
      fail(ExitCode::configuration, "lut_recode_steps = ", config.lut_recode_steps, ": ", name,
           " keeps no weights that codes could be renewed from; leave it at 0, or start from the "
           "dense model with lut_recode_steps");
  });
}

LutSizes lut_sizes(CausalLm& structure, const LutLayers& layers, const LutConfig& config) {
  LutSizes sizes;
  visit_linears(structure, [&](const std::string& name, Linear& linear) {
    const auto layer = layers.find(name);
    if (layer == layers.end()) return;
    const int64_t outputs = linear.weight->outputs(), inputs = linear.weight->inputs();
    sizes.numbers += outputs * inputs;
    sizes.largest = std::max(sizes.largest, outputs * inputs);
    for (const LutPartSize& part : lut_parts(layer->second, config, outputs, inputs)) {
      if (trains_lut_part(config, name, layer->second, part.name))
        sizes.trained += part.numbers;
      else
        sizes.bytes += 4 * part.numbers;
    }
    if (layer->second.parameters == "v2")
      sizes.bytes += outputs * packed_bytes(inputs, layer->second.bits);
  });
  return sizes;
}

}  // namespace isogrid
