#include "configs/aliases.h"

#include "configs/scalars.h"

namespace isogrid {
namespace {

Translation translate_switch(const YamlNode& node, const char* meant) {
  if (node.kind == YamlNode::Kind::null) return {};
  const auto read = read_bool(node.text);
  if (node.kind != YamlNode::Kind::scalar || !read.value)
    return {{}, {}, "true or false is allowed"};
  if (!*read.value) return {{}, meant, {}};
  YamlNode value = node;
  value.text = meant;
  return {value, {}, {}};
}

Translation translate_ratio(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::null) return {};
  const auto read = read_number(node.text);
  if (node.kind != YamlNode::Kind::scalar || !read.value || *read.value < 0 || *read.value >= 1)
    return {{}, {}, "a number from 0 to below 1 is allowed"};
  return {node, {}, {}};
}

}  // namespace

const std::vector<Alias>& aliases() {
  static const std::vector<Alias> list = {
      {"bnb_4bit_compute_dtype", "compute_dtype"},
      {"bnb_8bit_compute_dtype", "compute_dtype"},
      {"bnb_4bit_use_double_quant", "double_quantization"},
      {"bnb_4bit_quant_type", "quantization_type"},
      {"load_in_4bit", "quantization_bit", AliasForm::four_if_true},
      {"load_in_8bit", "quantization_bit", AliasForm::eight_if_true},
      {"dtype", "compute_dtype", AliasForm::same, true},
      {"torch_dtype", "compute_dtype"},
      {"use_cpu", "device", AliasForm::cpu_if_true},
      {"no_cuda", "device", AliasForm::cpu_if_true},
      {"warmup_ratio", "warmup_steps", AliasForm::ratio},
      {"evaluation_strategy", "eval_strategy"},
      {"disable_gradient_checkpointing", "gradient_checkpointing", AliasForm::false_if_true},
      {"activation_checkpointing", "gradient_checkpointing"},
      {"per_gpu_train_batch_size", "per_device_train_batch_size"},
      {"per_gpu_eval_batch_size", "per_device_eval_batch_size"},
      {"micro_batch_size", "per_device_train_batch_size"},
      {"max_seq_length", "cutoff_len"},
      {"max_seq_len", "cutoff_len"},
      {"sequence_len", "cutoff_len"},
      {"model_max_length", "cutoff_len"},
      {"base_model", "model_name_or_path"},
      {"model_name", "model_name_or_path"},
      {"model", "model_name_or_path"},
      {"lora_r", "lora_rank"},
      {"target_modules", "lora_target"},
      {"lora_target_modules", "lora_target"},
      {"modules_to_save", "additional_target"},
      {"lora_modules_to_save", "additional_target"},
      {"num_epochs", "num_train_epochs"},
      {"lr_scheduler", "lr_scheduler_type"},
      {"optimizer", "optim"},
      {"sample_packing", "packing"},
      {"val_set_size", "val_size"},
      {"train_on_inputs", "train_on_prompt"},
      {"chat_template", "template"},
      {"train_dataset", "dataset"},
      {"max_tokens", "max_new_tokens"},
      {"label_smoothing", "label_smoothing_factor"},
      {"neftune_noise", "neftune_noise_alpha"},
      {"hub_model_id", "export_hub_model_id"},
      {"wandb_project", "project"},
      {"wandb_run_name", "run_name"},
      {"teacher_model_name_or_path", "kd_teacher"},
  };
  return list;
}

const Alias* find_alias(std::string_view name) {
  for (const Alias& alias : aliases())
    if (alias.name == name) return &alias;
  return nullptr;
}

Translation translate(const Alias& alias, const YamlNode& node) {
  switch (alias.form) {
    case AliasForm::same:
      return {node, {}, {}};
    case AliasForm::four_if_true:
      return translate_switch(node, "4");
    case AliasForm::eight_if_true:
      return translate_switch(node, "8");
    case AliasForm::false_if_true:
      return translate_switch(node, "false");
    case AliasForm::cpu_if_true:
      return translate_switch(node, "cpu");
    case AliasForm::ratio:
      break;
  }
  return translate_ratio(node);
}

}  // namespace isogrid
