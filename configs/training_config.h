#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// How long, in what batches, in what precision.
struct TrainingConfig {
  bool do_train = true;
  bool do_eval = false;
  bool do_predict = false;
  bool predict_with_generate = false;
  int64_t per_device_train_batch_size = 8;
  int64_t per_device_eval_batch_size = 8;
  int64_t gradient_accumulation_steps = 1;
  double num_train_epochs = 3.0;
  int64_t max_steps = -1;
  bool bf16 = false;
  bool fp16 = false;
  bool pure_bf16 = false;
  std::optional<bool> tf32;
  bool fp8 = false;
  std::string fp8_backend = "auto";
  bool fp8_enable_fsdp_float8_all_gather = false;
  std::string gradient_checkpointing = "auto";
  double label_smoothing_factor = 0.0;
  std::optional<double> neftune_noise_alpha;
  bool average_tokens_across_devices = true;
  bool auto_find_batch_size = false;
  bool use_dft_loss = false;
  bool use_asft_loss = false;
  double asft_alpha = 0.1;
  bool use_eaft_loss = false;
  double eaft_alpha = 1.0;
  bool compute_accuracy = false;

  void visit(auto&& field) {
    field("do_train", do_train, "Train; false stops after the checks.");
    field("do_eval", do_eval, "Evaluate at the end.");
    field("do_predict", do_predict, "Write predictions for eval_dataset.").planned();
    field("predict_with_generate", predict_with_generate, "Evaluate on written text.").planned();
    field("per_device_train_batch_size", per_device_train_batch_size, "Rows per micro-batch.")
        .at_least(1);
    field("per_device_eval_batch_size", per_device_eval_batch_size, "The same in evaluation.")
        .at_least(1);
    field("gradient_accumulation_steps", gradient_accumulation_steps, "Micro-batches per step.")
        .at_least(1);
    field("num_train_epochs", num_train_epochs, "Passes over the data.").above(0);
    field("max_steps", max_steps, "Optimizer steps; -1 = by num_train_epochs.").at_least(-1);
    field("bf16", bf16, "Compute in bfloat16, masters in float32.");
    field("fp16", fp16, "Compute in float16 with loss scaling, masters in float32.");
    field("pure_bf16", pure_bf16, "Weights and optimizer in bfloat16 too.");
    field("tf32", tf32, "TF32 for float32 products on a GPU.").unset("the library's default");
    field("fp8", fp8, "Products in 8-bit floats.").planned();
    field("fp8_backend", fp8_backend, "Library for fp8.").planned();
    field("fp8_enable_fsdp_float8_all_gather", fp8_enable_fsdp_float8_all_gather,
          "Gather shards in 8 bits.")
        .planned();
    field("gradient_checkpointing", gradient_checkpointing,
          "Recompute whole blocks in backward; auto: when memory needs it.")
        .one_of({"auto", "true", "false"})
        .or_bool();
    field("label_smoothing_factor", label_smoothing_factor, "Share of the target spread evenly.")
        .at_least(0)
        .below(1);
    field("neftune_noise_alpha", neftune_noise_alpha, "Uniform noise on embeddings in training.")
        .at_least(0);
    field("average_tokens_across_devices", average_tokens_across_devices,
          "One mean over all label tokens; false is not offered.")
        .planned();
    field("auto_find_batch_size", auto_find_batch_size, "Shrink the batch until it fits.")
        .planned();
    field("use_dft_loss", use_dft_loss, "Probability-weighted loss (DFT).").planned();
    field("use_asft_loss", use_asft_loss, "Anchored loss (ASFT).").planned();
    field("asft_alpha", asft_alpha, "Weight of ASFT's anchor.").planned();
    field("use_eaft_loss", use_eaft_loss, "Entropy-weighted loss (EAFT).").planned();
    field("eaft_alpha", eaft_alpha, "Strength of EAFT's weighting.").planned();
    field("compute_accuracy", compute_accuracy, "Token accuracy in evaluation.").planned();
  }
};

}  // namespace isogrid
