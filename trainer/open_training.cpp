#include "trainer/open_training.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "models/hub_cache.h"
#include "models/peft.h"
#include "models/random_init.h"
#include "models/registry.h"
#include "models/rounding.h"
#include "models/weights.h"
#include "trainer/open_lut.h"
#include "trainer/open_model.h"
#include "trainer/what_trains.h"

namespace isogrid {
namespace {

std::optional<at::ScalarType> type_named(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  if (name == "float64") return at::kDouble;
  return std::nullopt;
}

/// Adapters of earlier runs: all but the last are merged, the last is trained further, unless a new
/// one is wanted. Returns the one to go on with.
std::optional<PeftFolder> lay_earlier_adapters(CausalLm& model, const RunConfig& config,
                                               bool keeps_last) {
  const std::vector<PeftFolder> folders = open_adapters(config);
  for (size_t i = 0; i < folders.size(); ++i) {
    if (keeps_last && i + 1 == folders.size()) return folders[i];
    attach_peft_adapters(model, folders[i], model.compute);
    merge_adapters(model);
  }
  return std::nullopt;
}

void add_fresh_adapters(OpenedTraining& opened, const RunConfig& config, at::ScalarType master) {
  CausalLm& model = opened.training.model;
  const FinetuningConfig& how = config.finetuning;
  const auto seed = static_cast<uint64_t>(config.run.seed);
  opened.publication.adapter = adapter_spec(how);
  attach_fresh_adapters(model, opened.publication.adapter, seed, master);
  if (how.pissa_init) {
    initialise_by_singular_vectors(model, how.pissa_iter, seed);
    const StoredValue copy = [](const TensorSlot& slot) { return slot.tensor->detach().clone(); };
    opened.publication.adapter_start = peft_tensors(model, {}, copy);
  }
  if (how.use_dora) initialise_magnitudes(model);
}

void prepare_lora(OpenedTraining& opened, const RunConfig& config, const Precision& precision) {
  CausalLm& model = opened.training.model;
  const bool keeps_last = !config.finetuning.create_new_adapter;
  const auto earlier = lay_earlier_adapters(model, config, keeps_last);
  std::vector<std::string> in_full;
  if (earlier) {
    in_full = attach_peft_adapters(model, *earlier, precision.master);
    opened.publication.adapter = earlier->spec;
    model.visit([&](const TensorSlot& slot) {
      if (std::find(in_full.begin(), in_full.end(), slot.name) != in_full.end())
        slot.tensor->requires_grad_();
    });
  } else {
    add_fresh_adapters(opened, config, precision.master);
    in_full = train_in_full(model, config.finetuning.additional_target);
  }
  round_to_target(model, config.qat);
  train_adapters(model);
  opened.publication.is_adapter = true;
  opened.publication.in_full = in_full;
  opened.training.trainables =
      lay_out_trainables(model, {precision.compute, precision.master, model.device});
}

/// full and freeze: what trains is read straight into the masters, so the whole model never exists
/// twice.
void load_trained_in_place(OpenedTraining& opened, const RunConfig& config,
                           const LoadOptions& options, const Precision& precision) {
  Training& training = opened.training;
  round_to_target(training.model, config.qat);
  if (config.finetuning.finetuning_type == "full")
    train_all(training.model);
  else
    train_some_layers(training.model, config.finetuning);
  training.model.compute = precision.compute;
  training.model.device = options.device;
  training.trainables =
      lay_out_trainables(training.model, {precision.compute, precision.master, options.device});
  LoadOptions in_place = options;
  in_place.keep_blocks = false;
  in_place.take = [&](const TensorSlot& slot, const at::Tensor& stored) {
    return take_stored(training.trainables, slot.name, stored);
  };
  load_weights(training.model, *opened.publication.base_weights, in_place,
               opened.publication.base.path);
}

/// A weight that is rounded is read with all its digits, whatever the run computes in.
void keep_as_stored(LoadOptions& options, TargetGrids grids) {
  if (grids.empty()) return;
  options.take = [grids = std::move(grids), device = options.device](const TensorSlot& slot,
                                                                     const at::Tensor& stored) {
    if (grids.count(slot.name) == 0) return false;
    *slot.tensor = stored.to(device);
    return true;
  };
}

void initialise_in_place(OpenedTraining& opened, const RunConfig& config,
                         const Precision& precision) {
  Training& training = opened.training;
  initialise_randomly(training.model, static_cast<uint64_t>(config.run.seed), precision.master);
  training.model.compute = precision.compute;
  round_to_target(training.model, config.qat);
  train_all(training.model);
  training.trainables = lay_out_trainables(
      training.model, {precision.compute, precision.master, training.model.device});
}

void refuse_adapters(const RunConfig& config) {
  if (config.model.adapter_name_or_path.empty()) return;
  fail(ExitCode::configuration,
       "adapter_name_or_path, finetuning_type: ", config.finetuning.finetuning_type,
       " trains the model's own weights; merge the adapter first (trainer export), or train with "
       "finetuning_type: lora");
}

void set_rates(Trainables& trainables, const FinetuningConfig& config) {
  if (!config.loraplus_lr_ratio) return;
  for (TrainedSlice& slice : trainables.slices)
    if (slice.role == Role::adapter_b) slice.rate = *config.loraplus_lr_ratio;
}

PassSettings pass_settings(const RunConfig& config) {
  PassSettings pass;
  pass.noise.seed = static_cast<uint64_t>(config.run.seed);
  pass.noise.neftune_alpha = config.training.neftune_noise_alpha.value_or(0.0);
  pass.label_smoothing = config.training.label_smoothing_factor;
  pass.recompute_blocks = config.training.gradient_checkpointing == "true";
  if (config.kd.kd_cache) pass.distillation = distillation_of(config.kd, pass.noise.seed);
  return pass;
}

}  // namespace

Precision precision_of(const RunConfig& config, at::Device device, at::ScalarType stored) {
  Precision precision;
  if (config.training.pure_bf16) {
    precision.compute = precision.master = at::kBFloat16;
  } else if (config.training.bf16) {
    precision.compute = at::kBFloat16;
  } else if (config.training.fp16) {
    precision.compute = at::kHalf;
  } else if (const auto named = type_named(config.run.compute_dtype)) {
    precision.compute = *named;
  } else if (device.is_cuda()) {
    precision.compute = stored;
  }
  if (precision.compute == at::kDouble) precision.master = at::kDouble;
  precision.scales_loss = precision.compute == at::kHalf;
  return precision;
}

Json training_model_config(const RunConfig& config, const ModelFolder& folder) {
  Json json = folder.config;
  if (!config.model.rope_scaling) return json;
  const std::string where = folder.path + "/config.json";
  const DecoderConfig before = read_decoder_config(json, where);
  const auto factor = std::ceil(static_cast<double>(config.data.cutoff_len) /
                                static_cast<double>(before.max_position));
  if (factor <= 1) {
    log_info(concat("rope_scaling: cutoff_len ", config.data.cutoff_len, " fits the model's ",
                    before.max_position, " positions; nothing is stretched"));
    return json;
  }
  Json rope = {{"rope_type", *config.model.rope_scaling}, {"factor", factor}};
  if (*config.model.rope_scaling == "yarn" || *config.model.rope_scaling == "llama3")
    rope["original_max_position_embeddings"] = before.max_position;
  if (*config.model.rope_scaling == "llama3") {
    rope["low_freq_factor"] = 1.0;
    rope["high_freq_factor"] = 4.0;
  }
  if (json.contains("rope_parameters")) {
    rope["rope_theta"] = before.rope.theta;
    json["rope_parameters"] = rope;
  } else {
    json["rope_scaling"] = rope;
  }
  static_cast<void>(read_decoder_config(json, where));
  return json;
}

OpenedTraining open_training(const RunConfig& config, const ModelFolder& folder,
                             const std::optional<std::string>& checkpoint,
                             const BatchStream* batches) {
  check_quantised_folder(config, folder);
  OpenedTraining opened;
  Publication& publication = opened.publication;
  publication.base = folder;
  publication.base.config = training_model_config(config, folder);
  publication.base_name = required_model(config);
  publication.qat = config.qat;
  publication.shard_gigabytes = static_cast<double>(config.exporting.export_size);
  const DecoderConfig shape =
      read_decoder_config(publication.base.config, folder.path + "/config.json");
  const bool from_scratch = config.model.train_from_scratch;
  if (!from_scratch)
    publication.base_weights = std::make_shared<const WeightIndex>(open_weights(*folder.files));

  LoadOptions options;
  options.device = chosen_device(config);
  const Precision precision = precision_of(
      config, options.device, from_scratch ? at::kFloat : stored_type(*publication.base_weights));
  options.compute = precision.compute;
  set_quantisation(options, config.quantisation, folder);
  Training& training = opened.training;
  training.model = build_model(shape);
  training.model.device = options.device;
  const bool lora = config.finetuning.finetuning_type == "lora";
  const LutRun tables = lut_run(config, folder);
  if (from_scratch) {
    initialise_in_place(opened, config, precision);
  } else if (trains_lut(tables)) {
    refuse_adapters(config);
    open_lut_training(opened, config, tables, options, precision, checkpoint, batches);
  } else if (lora) {
    keep_as_stored(options, target_grids(training.model, config.qat));
    load_weights(training.model, *publication.base_weights, options, folder.path);
    if (tables == LutRun::under_adapter) serve_lut_layers(training.model, config);
    prepare_lora(opened, config, precision);
  } else {
    refuse_adapters(config);
    load_trained_in_place(opened, config, options, precision);
  }
  find_trained_depth(training.model);
  refresh_row_lengths(training.model);
  set_rates(training.trainables, config.finetuning);
  training.optimizer = make_optimizer(config.optimizer, training.trainables);
  training.loss_scale.on = precision.scales_loss;
  training.pass = pass_settings(config);
  training.max_grad_norm = config.optimizer.max_grad_norm;
  training.ema_decay = config.optimizer.ema_decay;
  if (training.ema_decay > 0) training.average = training.trainables.master.clone();
  return opened;
}

}  // namespace isogrid
