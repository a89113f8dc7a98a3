#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// What trains: the stage, and which tensors move.
struct FinetuningConfig {
  std::string stage = "sft";
  std::string finetuning_type = "lora";
  int64_t lora_rank = 8;
  std::optional<int64_t> lora_alpha;
  double lora_dropout = 0.0;
  std::vector<std::string> lora_target = {"all"};
  std::vector<std::string> additional_target;
  bool use_rslora = false;
  bool use_dora = false;
  bool pissa_init = false;
  int64_t pissa_iter = 16;
  bool pissa_convert = false;
  std::optional<double> loraplus_lr_ratio;
  double loraplus_lr_embedding = 1e-6;
  bool create_new_adapter = false;
  int64_t freeze_trainable_layers = 2;
  std::vector<std::string> freeze_trainable_modules = {"all"};
  std::vector<std::string> freeze_extra_modules;
  bool use_llama_pro = false;
  std::string merge_base = "auto";

  void visit(auto&& field) {
    field("stage", stage, "pt: plain text; sft: conversations.")
        .one_of({"pt", "sft"})
        .to_come({"rm", "ppo", "dpo", "kto"});
    field("finetuning_type", finetuning_type, "What moves: an adapter, some layers, or all.")
        .one_of({"lora", "freeze", "full"})
        .to_come({"oft"});
    field("lora_rank", lora_rank, "Rank of the adapter.").at_least(1);
    field("lora_alpha", lora_alpha, "The adapter counts alpha / rank.")
        .at_least(1)
        .unset("2 x lora_rank");
    field("lora_dropout", lora_dropout, "Dropout on the adapter's input.").at_least(0).below(1);
    field("lora_target", lora_target, "Name endings of the linears that get an adapter, or all.");
    field("additional_target", additional_target, "Modules trained and stored in full beside it.");
    field("use_rslora", use_rslora, "The adapter counts alpha / sqrt(rank).");
    field("use_dora", use_dora, "Magnitude and direction apart.");
    field("pissa_init", pissa_init, "Start the adapter from the largest singular vectors.");
    field("pissa_iter", pissa_iter, "Power iterations of that SVD; -1 = exact.").at_least(-1);
    field("pissa_convert", pissa_convert, "Save a PiSSA adapter as an ordinary one.");
    field("loraplus_lr_ratio", loraplus_lr_ratio, "Learning rate of B over that of A.").above(0);
    field("loraplus_lr_embedding", loraplus_lr_embedding, "Learning rate of embedding adapters.")
        .above(0);
    field("create_new_adapter", create_new_adapter, "Merge the given adapters, train a new one.");
    field("freeze_trainable_layers", freeze_trainable_layers,
          "Blocks that train in freeze: the last n; negative: the first n.");
    field("freeze_trainable_modules", freeze_trainable_modules, "Which parts of those blocks.");
    field("freeze_extra_modules", freeze_extra_modules, "Modules outside the blocks that train.");
    field("use_llama_pro", use_llama_pro, "Spread the trained blocks evenly.").planned();
    field("merge_base", merge_base, "Weights a QLoRA merges into; auto measures both.")
        .one_of({"auto", "original", "dequantized"});
  }
};

}  // namespace isogrid
