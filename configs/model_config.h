#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// Which weights, and how their shapes are changed before anything runs.
struct ModelConfig {
  std::optional<std::string> model_name_or_path;
  std::vector<std::string> adapter_name_or_path;
  std::optional<std::string> adapter_folder;
  std::optional<std::string> cache_dir;
  std::string model_revision = "main";
  std::optional<std::string> rope_scaling;
  bool resize_vocab = false;
  std::vector<std::string> add_tokens;
  std::vector<std::string> add_special_tokens;
  std::vector<std::string> allow_missing;
  std::vector<std::string> allow_extra;
  bool allow_non_finite = false;
  bool train_from_scratch = false;
  bool shift_attn = false;
  bool upcast_layernorm = false;
  bool upcast_lmhead_output = false;

  void visit(auto&& field) {
    field("model_name_or_path", model_name_or_path,
          "A model folder, or a Hugging Face id found in the local hub cache.");
    field("adapter_name_or_path", adapter_name_or_path,
          "Adapter folders laid over the model, in this order.");
    field("adapter_folder", adapter_folder, "Folder that holds the adapters named above.");
    field("cache_dir", cache_dir, "Hub cache to look models up in.")
        .unset("HF_HOME, else ~/.cache/huggingface")
        .planned();
    field("model_revision", model_revision, "Branch, tag or commit in the hub cache.");
    field("rope_scaling", rope_scaling, "Rotary scaling that stretches the context to cutoff_len.")
        .one_of({"linear", "dynamic", "yarn", "llama3"})
        .unset("as in config.json");
    field("resize_vocab", resize_vocab, "Pad the embedding to a multiple of 64 for new tokens.")
        .planned();
    field("add_tokens", add_tokens, "Ordinary tokens to add to the tokenizer.").planned();
    field("add_special_tokens", add_special_tokens, "Special tokens to add to the tokenizer.")
        .planned();
    field("allow_missing", allow_missing, "Tensors the folder may lack.").planned();
    field("allow_extra", allow_extra, "Tensors the folder may have beyond the model's.").planned();
    field("allow_non_finite", allow_non_finite, "Accept NaN and Inf among the weights.").planned();
    field("train_from_scratch", train_from_scratch, "Random weights in the shapes of config.json.");
    field("shift_attn", shift_attn, "Shifted short attention (LongLoRA).").planned();
    field("upcast_layernorm", upcast_layernorm, "Keep the norms' weights in float32.").planned();
    field("upcast_lmhead_output", upcast_lmhead_output, "Logits in float32.").planned();
  }
};

}  // namespace isogrid
