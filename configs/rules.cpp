#include "configs/rules.h"

#include <algorithm>

#include "configs/values.h"
#include "core/error.h"

namespace isogrid {
namespace {

/// Two keys that do not go together, when `is_broken`, and what to do about it.
struct Rule {
  std::string_view first, second;
  bool (*is_broken)(const RunConfig&);
  std::string_view advice;
};

bool is_one_of(const std::string& value, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), value) != names.end();
}

bool has_bits(const RunConfig& c) { return c.quantisation.quantization_bit.has_value(); }

bool bits_fit_method(const QuantisationConfig& q) {
  const int64_t bits = *q.quantization_bit;
  if (q.quantization_method == "bnb") return bits == 4 || bits == 8;
  if (q.quantization_method == "gptq") return bits == 2 || bits == 3 || bits == 4 || bits == 8;
  if (q.quantization_method == "awq") return bits == 4;
  if (q.quantization_method == "eetq") return bits == 8;
  return q.quantization_method != "hqq" || bits != 7;
}

bool rounds_adapter(const RunConfig& c) {
  return c.qat.qat_target && c.qat.qat_lora == "merged" && c.finetuning.finetuning_type == "lora";
}

bool has_held_out_rows(const RunConfig& c) {
  const bool caches_own_rows = c.kd.kd_cache && c.data.dataset.empty();  // some are held out
  return c.data.val_size > 0 || !c.data.eval_dataset.empty() || caches_own_rows;
}

bool dtype_is_not(const RunConfig& c, std::string_view dtype) {
  return c.run.compute_dtype != "auto" && c.run.compute_dtype != dtype;
}

const std::vector<Rule>& quantisation_rules() {
  static const std::vector<Rule> rules = {
      {"quantization_bit", "quantization_method",
       [](const RunConfig& c) { return has_bits(c) && !bits_fit_method(c.quantisation); },
       "bnb has 4 and 8 bits, gptq 8, 4, 3 and 2, awq 4, eetq 8, hqq 8 and 6 to 1"},
      {"quantization_method", "quantization_bit",
       [](const RunConfig& c) {
         return has_bits(c) && is_one_of(c.quantisation.quantization_method, {"gptq", "awq"}) &&
                c.data.dataset.empty() && !c.exporting.export_quantization_dataset;
       },
       "this method needs text to calibrate on: give dataset or export_quantization_dataset; a "
       "base that is already quantised needs no quantization_bit"},
  };
  return rules;
}

/// What does not go with a base in few bits, whoever made it so.
struct FrozenBaseRule {
  std::string_view key;
  bool (*is_broken)(const RunConfig&);
  std::string_view advice;
};

const std::vector<FrozenBaseRule>& frozen_base_rules() {
  static const std::vector<FrozenBaseRule> rules = {
      {"finetuning_type",
       [](const RunConfig& c) {
         return is_one_of(c.finetuning.finetuning_type, {"full", "freeze"});
       },
       "a quantised base is frozen: train an adapter (finetuning_type: lora), or take an "
       "unquantised base"},
      {"train_from_scratch", [](const RunConfig& c) { return c.model.train_from_scratch; },
       "a quantised base is frozen, and random weights would stay random: leave one out"},
      {"resize_vocab", [](const RunConfig& c) { return c.model.resize_vocab; },
       "the embedding of a quantised base cannot grow: resize first, quantise then"},
      {"add_tokens", [](const RunConfig& c) { return !c.model.add_tokens.empty(); },
       "the embedding of a quantised base cannot grow: add tokens first, quantise then"},
      {"pissa_init", [](const RunConfig& c) { return c.finetuning.pissa_init; },
       "PiSSA changes the base it starts from: use an unquantised base"},
      {"create_new_adapter",
       [](const RunConfig& c) {
         return c.finetuning.create_new_adapter && !c.model.adapter_name_or_path.empty();
       },
       "adapters cannot be merged into a quantised base: merge them first"},
      {"adapter_name_or_path",
       [](const RunConfig& c) { return c.model.adapter_name_or_path.size() > 1; },
       "a quantised base takes one adapter: merge them first"},
      {"fp8", [](const RunConfig& c) { return c.training.fp8; }, "choose one of the two"},
  };
  return rules;
}

const std::vector<Rule>& training_rules() {
  static const std::vector<Rule> rules = {
      {"bf16", "fp16", [](const RunConfig& c) { return c.training.bf16 && c.training.fp16; },
       "choose one of the two"},
      {"pure_bf16", "fp16",
       [](const RunConfig& c) { return c.training.pure_bf16 && c.training.fp16; },
       "choose one of the two"},
      {"bf16", "compute_dtype",
       [](const RunConfig& c) { return c.training.bf16 && dtype_is_not(c, "bfloat16"); },
       "they name different number types: leave one out"},
      {"pure_bf16", "compute_dtype",
       [](const RunConfig& c) { return c.training.pure_bf16 && dtype_is_not(c, "bfloat16"); },
       "they name different number types: leave one out"},
      {"fp16", "compute_dtype",
       [](const RunConfig& c) { return c.training.fp16 && dtype_is_not(c, "float16"); },
       "they name different number types: leave one out"},
      {"adapter_name_or_path", "finetuning_type",
       [](const RunConfig& c) {
         return !c.model.adapter_name_or_path.empty() && c.finetuning.finetuning_type != "lora";
       },
       "adapters belong to finetuning_type: lora; merge them first to train the whole model"},
      {"pissa_init", "finetuning_type",
       [](const RunConfig& c) {
         return c.finetuning.pissa_init && c.finetuning.finetuning_type != "lora";
       },
       "PiSSA starts a LoRA adapter"},
      {"pissa_init", "use_dora",
       [](const RunConfig& c) { return c.finetuning.pissa_init && c.finetuning.use_dora; },
       "choose one of the two"},
      {"use_llama_pro", "finetuning_type",
       [](const RunConfig& c) {
         return c.finetuning.use_llama_pro && c.finetuning.finetuning_type == "full";
       },
       "it chooses among layers: use freeze or lora"},
      {"use_galore", "finetuning_type",
       [](const RunConfig& c) {
         return c.optimizer_family.use_galore && c.finetuning.finetuning_type == "lora";
       },
       "it is for full training"},
      {"use_apollo", "finetuning_type",
       [](const RunConfig& c) {
         return c.optimizer_family.use_apollo && c.finetuning.finetuning_type == "lora";
       },
       "it is for full training"},
      {"use_badam", "finetuning_type",
       [](const RunConfig& c) {
         return c.optimizer_family.use_badam && c.finetuning.finetuning_type == "lora";
       },
       "it is for full training"},
      {"use_galore", "use_apollo",
       [](const RunConfig& c) {
         return c.optimizer_family.use_galore && c.optimizer_family.use_apollo;
       },
       "choose one of the two"},
      {"dpo_label_smoothing", "pref_loss",
       [](const RunConfig& c) {
         return c.preference.dpo_label_smoothing > 0 && c.preference.pref_loss != "sigmoid";
       },
       "only the sigmoid loss knows label smoothing"},
      {"predict_with_generate", "stage",
       [](const RunConfig& c) {
         return c.training.predict_with_generate && c.finetuning.stage != "sft";
       },
       "it belongs to stage: sft"},
  };
  return rules;
}

const std::vector<Rule>& data_rules() {
  static const std::vector<Rule> rules = {
      {"neat_packing", "stage",
       [](const RunConfig& c) { return c.data.neat_packing && c.finetuning.stage != "sft"; },
       "it belongs to stage: sft"},
      {"train_on_prompt", "stage",
       [](const RunConfig& c) { return c.data.train_on_prompt && c.finetuning.stage != "sft"; },
       "it belongs to stage: sft"},
      {"mask_history", "stage",
       [](const RunConfig& c) { return c.data.mask_history && c.finetuning.stage != "sft"; },
       "it belongs to stage: sft"},
      {"train_on_prompt", "mask_history",
       [](const RunConfig& c) { return c.data.train_on_prompt && c.data.mask_history; },
       "one puts labels on the prompt, the other takes them off"},
      {"packing", "neat_packing",
       [](const RunConfig& c) {
         return c.data.packing.has_value() && !*c.data.packing && c.data.neat_packing;
       },
       "neat_packing is packing: leave packing out or say true"},
      {"val_size", "eval_dataset",
       [](const RunConfig& c) { return c.data.val_size > 0 && !c.data.eval_dataset.empty(); },
       "choose where evaluation rows come from"},
      {"eval_strategy", "val_size",
       [](const RunConfig& c) { return c.saving.eval_strategy != "no" && !has_held_out_rows(c); },
       "there is nothing to evaluate on: give val_size or eval_dataset"},
      {"do_eval", "val_size",
       [](const RunConfig& c) { return c.training.do_eval && !has_held_out_rows(c); },
       "there is nothing to evaluate on: give val_size or eval_dataset"},
      {"streaming", "max_steps",
       [](const RunConfig& c) { return c.data.streaming && c.training.max_steps <= 0; },
       "the length of a stream is not known: give max_steps"},
      {"streaming", "max_samples",
       [](const RunConfig& c) { return c.data.streaming && c.data.max_samples.has_value(); },
       "a stream is not cut: leave max_samples out"},
      {"streaming", "val_size",
       [](const RunConfig& c) {
         return c.data.streaming && c.data.val_size > 0 && c.data.val_size < 1;
       },
       "a share of a stream is not known: give a count"},
      {"interleave_probs", "mix_strategy",
       [](const RunConfig& c) {
         return !c.data.interleave_probs.empty() && c.data.mix_strategy == "concat";
       },
       "chances belong to interleave_under and interleave_over"},
      {"interleave_probs", "dataset",
       [](const RunConfig& c) {
         return !c.data.interleave_probs.empty() && c.data.mix_strategy != "concat" &&
                c.data.interleave_probs.size() != c.data.dataset.size();
       },
       "one chance for each dataset"},
  };
  return rules;
}

const std::vector<Rule>& saving_rules() {
  static const std::vector<Rule> rules = {
      {"load_best_model_at_end", "eval_strategy",
       [](const RunConfig& c) {
         return c.saving.load_best_model_at_end && c.saving.eval_strategy == "no";
       },
       "the best is known from evaluations only: set eval_strategy"},
      {"load_best_model_at_end", "save_strategy",
       [](const RunConfig& c) {
         return c.saving.load_best_model_at_end && c.saving.save_strategy == "no";
       },
       "the best has to be on disk: set save_strategy"},
      {"save_strategy", "eval_strategy",
       [](const RunConfig& c) {
         return c.saving.save_strategy == "best" && c.saving.eval_strategy == "no";
       },
       "the best is known from evaluations only: set eval_strategy"},
      {"early_stopping_steps", "eval_strategy",
       [](const RunConfig& c) {
         return c.saving.early_stopping_steps && c.saving.eval_strategy == "no";
       },
       "evaluations decide when to stop: set eval_strategy"},
      {"resume_from_checkpoint", "overwrite_output_dir",
       [](const RunConfig& c) {
         return c.saving.resume_from_checkpoint == "true" && c.run.overwrite_output_dir;
       },
       "one continues the newest checkpoint of output_dir, the other starts afresh"},
      {"qat_start_step", "max_steps",
       [](const RunConfig& c) {
         return c.qat.qat_target && c.training.max_steps > 0 &&
                c.qat.qat_start_step >= c.training.max_steps;
       },
       "the run would end before rounding begins"},
      {"qat_target", "quantization_bit",
       [](const RunConfig& c) { return c.qat.qat_target && has_bits(c); },
       "the weights themselves are rounded in training: leave quantization_bit out"},
      {"qat_target", "pissa_init",
       [](const RunConfig& c) { return c.qat.qat_target && c.finetuning.pissa_init; },
       "PiSSA changes the base whose codes are trained: choose one of the two"},
      {"qat_target", "create_new_adapter",
       [](const RunConfig& c) {
         return c.qat.qat_target && c.finetuning.create_new_adapter &&
                !c.model.adapter_name_or_path.empty();
       },
       "merge the adapters first (trainer export): the codes belong to a base as it is stored"},
      {"qat_target", "adapter_name_or_path",
       [](const RunConfig& c) {
         return c.qat.qat_target && c.model.adapter_name_or_path.size() > 1;
       },
       "merge the adapters first (trainer export): the codes belong to a base as it is stored"},
      {"qat_lora", "lora_dropout",
       [](const RunConfig& c) { return rounds_adapter(c) && c.finetuning.lora_dropout > 0; },
       "an adapter that is rounded into its weight has no input to drop"},
      {"qat_lora", "use_dora",
       [](const RunConfig& c) { return rounds_adapter(c) && c.finetuning.use_dora; },
       "a DoRA adapter cannot be rounded together with its weight: use qat_lora: base"},
  };
  return rules;
}

bool makes_tables(const RunConfig& c) {
  return c.lut.lut_preset || c.lut.lut_mlp_bits || c.lut.lut_attention_bits;
}

bool trains_part(const RunConfig& c, std::string_view part) {
  const auto& parts = c.lut.lut_train;
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

const std::vector<Rule>& table_rules() {
  static const std::vector<Rule> rules = {
      {"lut_preset", "finetuning_type",
       [](const RunConfig& c) { return makes_tables(c) && c.finetuning.finetuning_type != "full"; },
       "the layers themselves train: finetuning_type: full. An adapter needs a folder of such "
       "layers as its base: train that first"},
      {"lut_preset", "quantization_bit",
       [](const RunConfig& c) { return makes_tables(c) && has_bits(c); },
       "look-up-table layers are made from the weights themselves: leave quantization_bit out"},
      {"lut_preset", "qat_target",
       [](const RunConfig& c) { return makes_tables(c) && c.qat.qat_target.has_value(); },
       "each is a way of its own to hold a weight in few bits: choose one"},
      {"lut_preset", "train_from_scratch",
       [](const RunConfig& c) { return makes_tables(c) && c.model.train_from_scratch; },
       "look-up-table layers are made from trained weights: leave one out"},
      {"lut_auto_snap", "lut_freeze_magnitudes",
       [](const RunConfig& c) {
         return c.lut.lut_auto_snap && c.lut.lut_freeze_magnitudes == "all";
       },
       "magnitudes that are held fixed have nothing to settle: leave one out"},
      {"lut_layer_by_layer", "lut_families",
       [](const RunConfig& c) {
         return c.lut.lut_layer_by_layer && c.lut.lut_families == "attention";
       },
       "it fits MLPs, of which none trains: leave one out"},
      {"lut_learning_rate", "lut_train",
       [](const RunConfig& c) { return c.lut.lut_learning_rate && !trains_part(c, "table"); },
       "it is the rate of the table, which does not train: add table to lut_train"},
      {"lut_recode_steps", "lut_parameters",
       [](const RunConfig& c) {
         return c.lut.lut_recode_steps > 0 && c.lut.lut_parameters != "v2";
       },
       "codes of v1 and balanced follow their weights at every use: leave it at 0"},
      {"lut_forward", "lut_parameters",
       [](const RunConfig& c) {
         return c.lut.lut_forward != "materialised" && c.lut.lut_parameters != "v2";
       },
       "only v2 can be multiplied rank by rank: use lut_forward: materialised"},
  };
  return rules;
}

std::string described(const RunConfig& config, std::string_view key) {
  RunConfig current = config;
  const std::vector<Field> fields = fields_of(current);
  const auto field =
      std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == key; });
  const auto place = config.places.find(key);
  const std::string value = concat(key, " = ", yaml_of(*field));
  return place == config.places.end() ? value : concat(value, " (", place->second, ")");
}

}  // namespace

std::vector<std::string> quantised_base_problems(const RunConfig& config, const std::string& base) {
  std::vector<std::string> found;
  for (const FrozenBaseRule& rule : frozen_base_rules())
    if (rule.is_broken(config))
      found.push_back(concat(described(config, rule.key), " and ", base, ": ", rule.advice));
  return found;
}

std::vector<std::string> contradictions(const RunConfig& config) {
  std::vector<std::string> found;
  if (has_bits(config))
    found = quantised_base_problems(config, described(config, "quantization_bit"));
  for (const auto* rules :
       {&quantisation_rules(), &training_rules(), &data_rules(), &saving_rules(), &table_rules()})
    for (const Rule& rule : *rules)
      if (rule.is_broken(config))
        found.push_back(concat(described(config, rule.first), " and ",
                               described(config, rule.second), ": ", rule.advice));
  return found;
}

}  // namespace isogrid
