#include "trainer/open_lut.h"

#include <algorithm>
#include <array>
#include <span>

#include "core/error.h"
#include "core/log.h"
#include "models/lut_training.h"
#include "trainer/fit_mlps.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

/// What only says how layers are made.
constexpr std::array<std::string_view, 10> kMakingKeys = {
    "lut_preset",     "lut_mlp_bits",   "lut_mlp_rank", "lut_attention_bits", "lut_attention_rank",
    "lut_group_size", "lut_parameters", "lut_init",     "lut_layer_by_layer", "lut_local_steps"};
/// What also a base under an adapter listens to.
constexpr std::array<std::string_view, 2> kServingKeys = {"lut_forward", "lut_ste_fp16"};

bool is_among(std::span<const std::string_view> keys, std::string_view key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

/// Refuses a lut_* key that stands in the settings and that `is_idle` says does nothing here.
template <typename IsIdle>
void refuse_idle_keys(const RunConfig& config, const IsIdle& is_idle, const std::string& why) {
  for (const auto& [key, place] : config.places)
    if (key.starts_with("lut_") && is_idle(key))
      fail(ExitCode::configuration, place, ": ", key, ": ", why);
}

void check_dense_base(const RunConfig& config, const ModelFolder& folder) {
  const auto kept = quantised_folder(folder.config, folder.path + "/config.json");
  if (kept == nullptr) return;
  fail(ExitCode::configuration, "lut_preset: ", required_model(config), " is quantised already (",
       kept->name(),
       "); look-up-table layers are made from the weights themselves: name an "
       "unquantised model");
}

/// Weights that become layers are read with all their digits, and so is what trains beside them.
void keep_digits(LoadOptions& options, const LutLayers& made, const LutConfig& config) {
  options.take = [&made, config, device = options.device](const TensorSlot& slot,
                                                          const at::Tensor& stored) {
    const std::string module = slot.name.substr(0, slot.name.rfind('.'));
    const bool becomes_layer = made.count(module) > 0 && slot.role == Role::weight;
    if (!becomes_layer && !trains_lut_norm(config, slot.name)) return false;
    *slot.tensor = stored.to(device);
    return true;
  };
}

void start_layers(CausalLm& model, const LutLayers& layers, const RunConfig& config) {
  ProgressLine line("Making look-up-table layers", static_cast<int64_t>(layers.size()));
  start_lut_layers(model, layers, config.lut, static_cast<uint64_t>(config.run.seed),
                   [&](int64_t done) { line.show(done); });
}

void fit_layers(CausalLm& model, const std::vector<DenseMlp>& dense, const BatchStream* batches,
                const RunConfig& config) {
  if (batches == nullptr)
    fail(ExitCode::configuration, "lut_layer_by_layer: needs rows to fit to, as a run has them");
  ProgressLine line("Fitting MLPs", static_cast<int64_t>(model.blocks.size()));
  fit_mlps(model, dense, *batches, config, [&](int64_t done) { line.show(done); });
}

}  // namespace

LutRun lut_run(const RunConfig& config, const ModelFolder& folder) {
  const bool stored = !stored_lut_layers(folder).empty();
  if (!stored && !makes_lut_layers(config.lut)) {
    refuse_idle_keys(
        config, [](const std::string&) { return true; },
        "has no effect without lut_preset, or a model_name_or_path that has "
        "look-up-table layers; leave it out");
    return LutRun::none;
  }
  if (!stored) {
    check_dense_base(config, folder);
    return LutRun::starts;
  }
  if (config.finetuning.finetuning_type == "lora") {
    refuse_idle_keys(
        config, [](const std::string& key) { return !is_among(kServingKeys, key); },
        "under an adapter (finetuning_type: lora) the layers of this model are "
        "frozen; leave it out, or train them with finetuning_type: full");
    return LutRun::under_adapter;
  }
  // One file of settings may make the layers and go on from them.
  for (const auto& [key, place] : config.places)
    if (is_among(kMakingKeys, key))
      log_warning(concat(place, ": ", key, ": ", required_model(config),
                         " has its look-up-table layers already, which are taken as they are"));
  return LutRun::goes_on;
}

void open_lut_training(OpenedTraining& opened, const RunConfig& config, LutRun run,
                       const LoadOptions& options, const Precision& precision,
                       const std::optional<std::string>& checkpoint, const BatchStream* batches) {
  Training& training = opened.training;
  // A run that goes on has its layers in its checkpoint: made again they might differ in a bit.
  const ModelFolder from = checkpoint ? open_model_folder(*checkpoint) : opened.publication.base;
  const bool makes = run == LutRun::starts && !checkpoint;
  LutLayers made;
  if (makes) made = planned_lut_layers(training.model, config.lut);
  LoadOptions reading = options;
  reading.keep_blocks = false;
  reading.stored_as = quantised_folder(from.config, from.path + "/config.json");
  keep_digits(reading, made, config.lut);
  load_weights(training.model, open_weights(*from.files), reading, from.path);
  const bool fits = makes && config.lut.lut_layer_by_layer;
  const std::vector<DenseMlp> dense = fits ? dense_mlps(training.model) : std::vector<DenseMlp>();
  if (makes) start_layers(training.model, made, config);
  // Made layers serve as lut_ste_fp16 says; those of a folder as they did unless it is written.
  const bool as_stored = run == LutRun::goes_on && !config.is_given("lut_ste_fp16");
  set_lut_schedule(training.model, config.lut,
                   as_stored ? std::nullopt : std::optional(config.lut.lut_ste_fp16));
  if (fits) fit_layers(training.model, dense, batches, config);
  train_lut_layers(training.model, config.lut);
  training.trainables =
      lay_out_trainables(training.model, {precision.compute, precision.master, options.device});
  if (config.lut.lut_learning_rate)
    for (TrainedSlice& slice : training.trainables.slices)
      if (slice.role == Role::table)
        slice.rate = *config.lut.lut_learning_rate / config.optimizer.learning_rate;
  training.magnitudes = watch_of(config.lut, training.model);
}

void serve_lut_layers(CausalLm& model, const RunConfig& config) {
  const bool given = config.is_given("lut_ste_fp16");
  set_lut_schedule(model, config.lut,
                   given ? std::optional(config.lut.lut_ste_fp16) : std::nullopt);
}

void count_lut_layers(CausalLm& structure, const RunConfig& config, const ModelFolder& folder,
                      RunSizes& sizes) {
  const LutLayers stored = stored_lut_layers(folder);
  const LutSizes lut = lut_sizes(
      structure, stored.empty() ? planned_lut_layers(structure, config.lut) : stored, config.lut);
  int64_t norms = 0;
  structure.visit([&](const TensorSlot& slot) {
    if (trains_lut_norm(config.lut, slot.name)) norms += slot.tensor->numel();
  });
  sizes.trained = lut.trained + norms;
  sizes.trained_in_model = norms;
  sizes.quantised = lut.numbers;
  sizes.quantised_bytes = lut.bytes;
  // Beside the weight that is expanded: its gradient, and what one factor's gradient is summed in.
  sizes.largest_quantised = lut.largest;
  sizes.rounding_bytes = lut.largest * (sizes.compute_bytes + 4);
}

}  // namespace isogrid
