#include "configs/rules.h"

#include <gtest/gtest.h>

#include "tests/configs/config_text.h"

namespace isogrid {
namespace {

struct Contradiction {
  const char* text;
  const char* first;
  const char* second;
};

const Contradiction contradictory[] = {
    {"finetuning_type: full\nquantization_bit: 4", "finetuning_type = full (c.yaml:1:1)",
     "quantization_bit = 4 (c.yaml:2:1)"},
    {"finetuning_type: freeze\nload_in_8bit: true", "finetuning_type", "quantization_bit = 8"},
    {"quantization_bit: 5", "quantization_bit = 5", "quantization_method = bnb"},
    {"quantization_bit: 4\nquantization_method: gptq", "quantization_method", "quantization_bit"},
    {"quantization_bit: 4\nquantization_method: awq", "quantization_method", "quantization_bit"},
    {"quantization_bit: 3\nquantization_method: awq\ndataset: x", "quantization_bit",
     "quantization_method"},
    {"quantization_bit: 4\nresize_vocab: true", "resize_vocab", "quantization_bit"},
    {"quantization_bit: 4\nadd_tokens: a", "add_tokens", "quantization_bit"},
    {"quantization_bit: 4\npissa_init: true", "pissa_init", "quantization_bit"},
    {"quantization_bit: 4\ncreate_new_adapter: true\nadapter_name_or_path: a", "create_new_adapter",
     "quantization_bit"},
    {"quantization_bit: 4\nadapter_name_or_path: a,b", "adapter_name_or_path = [a, b]",
     "quantization_bit"},
    {"quantization_bit: 4\nfp8: true", "fp8", "quantization_bit"},
    {"quantization_bit: 4\ntrain_from_scratch: true", "train_from_scratch", "quantization_bit"},
    {"bf16: true\nfp16: true", "bf16", "fp16"},
    {"pure_bf16: true\nfp16: true", "pure_bf16", "fp16"},
    {"bf16: true\ncompute_dtype: float32", "bf16", "compute_dtype"},
    {"pure_bf16: true\nbnb_4bit_compute_dtype: float16", "pure_bf16", "compute_dtype"},
    {"fp16: true\ncompute_dtype: bfloat16", "fp16", "compute_dtype"},
    {"adapter_name_or_path: a\nfinetuning_type: full", "adapter_name_or_path", "finetuning_type"},
    {"pissa_init: true\nfinetuning_type: full", "pissa_init", "finetuning_type"},
    {"pissa_init: true\nuse_dora: true", "pissa_init", "use_dora"},
    {"use_llama_pro: true\nfinetuning_type: full", "use_llama_pro", "finetuning_type"},
    {"use_galore: true", "use_galore", "finetuning_type"},
    {"use_apollo: true", "use_apollo", "finetuning_type"},
    {"use_badam: true", "use_badam", "finetuning_type"},
    {"use_galore: true\nuse_apollo: true\nfinetuning_type: full", "use_galore", "use_apollo"},
    {"dpo_label_smoothing: 0.1\npref_loss: ipo", "dpo_label_smoothing", "pref_loss"},
    {"predict_with_generate: true\nstage: pt", "predict_with_generate", "stage"},
    {"neat_packing: true\nstage: pt", "neat_packing", "stage = pt"},
    {"train_on_prompt: true\nstage: dpo", "train_on_prompt", "stage"},
    {"mask_history: true\nstage: kto", "mask_history", "stage"},
    {"train_on_prompt: true\nmask_history: true", "train_on_prompt", "mask_history"},
    {"packing: false\nneat_packing: true", "packing = false", "neat_packing = true"},
    {"val_size: 0.1\neval_dataset: x", "val_size", "eval_dataset"},
    {"eval_strategy: steps", "eval_strategy = steps (c.yaml:1:1)", "val_size = 0"},
    {"do_eval: true", "do_eval", "val_size"},
    {"streaming: true", "streaming", "max_steps"},
    {"streaming: true\nmax_steps: 5\nmax_samples: 5", "streaming", "max_samples"},
    {"streaming: true\nmax_steps: 5\nval_size: 0.1", "streaming", "val_size"},
    {"interleave_probs: [1]\ndataset: x", "interleave_probs", "mix_strategy"},
    {"interleave_probs: [0.5, 0.5]\ndataset: x\nmix_strategy: interleave_over", "interleave_probs",
     "dataset"},
    {"load_best_model_at_end: true", "load_best_model_at_end", "eval_strategy"},
    {"load_best_model_at_end: true\nsave_strategy: no\neval_strategy: epoch\nval_size: 9",
     "load_best_model_at_end", "save_strategy"},
    {"save_strategy: best", "save_strategy", "eval_strategy"},
    {"early_stopping_steps: 3", "early_stopping_steps", "eval_strategy"},
    {"resume_from_checkpoint: true\noverwrite_output_dir: true", "resume_from_checkpoint",
     "overwrite_output_dir"},
    {"qat_target: nf4\nqat_start_step: 9\nmax_steps: 9", "qat_start_step", "max_steps"},
    {"qat_target: nf4\nqat_lora: base\nquantization_bit: 4", "qat_target", "quantization_bit"},
};

TEST(Contradictions, NameBothKeysWithBothPlaces) {
  for (const auto& each : contradictory) {
    const LoadedConfig loaded = loaded_from(each.text);
    bool is_found = false;
    for (const std::string& problem : loaded.problems)
      is_found |= problem.find(each.first) != std::string::npos &&
                  problem.find(std::string(" and ") + each.second) != std::string::npos;
    EXPECT_TRUE(is_found) << each.text << "\n" << problem_of(each.text);
  }
}

TEST(Contradictions, AreNotSeenWhereThereAreNone) {
  for (const char* text : {
           "quantization_bit: 4\nfinetuning_type: lora",
           "quantization_bit: 4\nquantization_method: gptq\ndataset: x",
           "quantization_bit: 8\nquantization_method: gptq\nexport_quantization_dataset: x",
           "quantization_method: gptq",
           "quantization_bit: 4\nadapter_name_or_path: a",
           "bf16: true\ncompute_dtype: bf16",
           "bf16: true\npure_bf16: true",
           "streaming: true\nmax_steps: 5\nval_size: 100",
           "eval_strategy: steps\neval_dataset: x",
           "resume_from_checkpoint: a/checkpoint-1\noverwrite_output_dir: true",
           "resume_from_checkpoint: false\noverwrite_output_dir: true",
           "warmup_steps: 100\nmax_steps: 10",
           "neat_packing: true",
           "packing: false",
           "interleave_probs: [0.5, 0.5]\ndataset: x,y\nmix_strategy: interleave_over",
       })
    EXPECT_EQ(problem_of(text), "") << text;
}

}  // namespace
}  // namespace isogrid
