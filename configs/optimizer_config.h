#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// The rule that moves the weights, and the rate it moves them at.
struct OptimizerConfig {
  std::string optim = "adamw_torch_fused";
  double learning_rate = 5e-5;
  double weight_decay = 0.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double max_grad_norm = 1.0;
  std::string lr_scheduler_type = "linear";
  std::map<std::string, double> lr_scheduler_kwargs;
  double warmup_steps = 0;
  double ema_decay = 0.0;
  std::string non_finite = "stop";

  void visit(auto&& field) {
    field("optim", optim, "The update rule.")
        .one_of({"adamw", "adamw_8bit", "sgd", "adafactor", "lion", "adamw_torch",
                 "adamw_torch_fused", "adamw_hf", "adamw_bnb_8bit", "paged_adamw_8bit",
                 "paged_adamw_32bit", "lion_32bit"})
        .to_come({"adamw_torch_8bit", "lion_8bit", "paged_lion_8bit", "rmsprop", "adagrad",
                  "galore_adamw", "apollo_adamw", "lomo", "adalomo", "schedule_free_adamw"});
    field("learning_rate", learning_rate, "Highest rate of the schedule.").at_least(0);
    field("weight_decay", weight_decay, "Decay of weights; norms and biases are spared.")
        .at_least(0);
    field("adam_beta1", adam_beta1, "Memory of the first moment.").at_least(0).below(1);
    field("adam_beta2", adam_beta2, "Memory of the second moment.").at_least(0).below(1);
    field("adam_epsilon", adam_epsilon, "Added to the root of the second moment.").above(0);
    field("max_grad_norm", max_grad_norm, "Longest gradient; 0 = no clipping.").at_least(0);
    field("lr_scheduler_type", lr_scheduler_type, "Shape of the learning rate over the run.")
        .one_of({"linear", "cosine", "cosine_with_min_lr", "constant", "constant_with_warmup",
                 "polynomial", "inverse_sqrt", "warmup_stable_decay"})
        .to_come({"cosine_with_restarts", "reduce_lr_on_plateau", "cosine_warmup_with_min_lr"});
    field("lr_scheduler_kwargs", lr_scheduler_kwargs, "Numbers of the schedule, by name.");
    field("warmup_steps", warmup_steps, "Steps of rising rate; below 1, a share of the run.")
        .share_or_count();
    field("ema_decay", ema_decay, "Running average of what trains; 0 = none.").at_least(0).below(1);
    field("non_finite", non_finite, "On a NaN or Inf: end with exit code 80, or skip the step.")
        .one_of({"stop", "skip"})
        .to_come({"rollback"});
  }
};

/// Families of update rules other trainers offer; named here so that asking for one is answered.
struct OptimizerFamilyConfig {
  bool use_galore = false;
  std::vector<std::string> galore_target = {"all"};
  int64_t galore_rank = 16;
  int64_t galore_update_interval = 200;
  double galore_scale = 2.0;
  std::string galore_proj_type = "std";
  bool galore_layerwise = false;
  bool use_apollo = false;
  std::vector<std::string> apollo_target = {"all"};
  int64_t apollo_rank = 16;
  int64_t apollo_update_interval = 200;
  double apollo_scale = 32.0;
  std::string apollo_proj = "random";
  std::string apollo_proj_type = "std";
  std::string apollo_scale_type = "channel";
  bool apollo_layerwise = false;
  bool apollo_scale_front = false;
  bool use_badam = false;
  std::string badam_mode = "layer";
  std::optional<int64_t> badam_start_block;
  std::string badam_switch_mode = "ascending";
  int64_t badam_switch_interval = 50;
  double badam_update_ratio = 0.05;
  std::string badam_mask_mode = "adjacent";
  int64_t badam_verbose = 0;
  bool use_adam_mini = false;
  bool use_muon = false;

  void visit(auto&& field) {
    field("use_galore", use_galore, "GaLore.");
    field("galore_target", galore_target, "Modules under GaLore.");
    field("galore_rank", galore_rank, "Rank of GaLore's projection.").at_least(1);
    field("galore_update_interval", galore_update_interval, "Steps between projections.")
        .at_least(1);
    field("galore_scale", galore_scale, "Scale of GaLore's update.").above(0);
    field("galore_proj_type", galore_proj_type, "Side of GaLore's projection.")
        .one_of({"std", "reverse_std", "right", "left", "full"});
    field("galore_layerwise", galore_layerwise, "Update inside backward.");
    field("use_apollo", use_apollo, "APOLLO.");
    field("apollo_target", apollo_target, "Modules under APOLLO.");
    field("apollo_rank", apollo_rank, "Rank of APOLLO's projection.").at_least(1);
    field("apollo_update_interval", apollo_update_interval, "Steps between projections.")
        .at_least(1);
    field("apollo_scale", apollo_scale, "Scale of APOLLO's update.").above(0);
    field("apollo_proj", apollo_proj, "Kind of APOLLO's projection.").one_of({"svd", "random"});
    field("apollo_proj_type", apollo_proj_type, "Side of APOLLO's projection.")
        .one_of({"std", "right", "left"});
    field("apollo_scale_type", apollo_scale_type, "What shares an APOLLO scale.")
        .one_of({"channel", "tensor"});
    field("apollo_layerwise", apollo_layerwise, "Update inside backward.");
    field("apollo_scale_front", apollo_scale_front, "Norm-growth limit before the scale.");
    field("use_badam", use_badam, "BAdam.");
    field("badam_mode", badam_mode, "What BAdam picks.").one_of({"layer", "ratio"});
    field("badam_start_block", badam_start_block, "First block.").at_least(0);
    field("badam_switch_mode", badam_switch_mode, "Order of the blocks.")
        .one_of({"ascending", "descending", "random", "fixed"});
    field("badam_switch_interval", badam_switch_interval, "Steps per block; -1 = never switch.")
        .at_least(-1);
    field("badam_update_ratio", badam_update_ratio, "Share of weights updated.")
        .at_least(0)
        .at_most(1);
    field("badam_mask_mode", badam_mask_mode, "Shape of the mask.").one_of({"adjacent", "scatter"});
    field("badam_verbose", badam_verbose, "How much BAdam prints.").at_least(0).at_most(2);
    field("use_adam_mini", use_adam_mini, "Adam-mini.");
    field("use_muon", use_muon, "Muon.");
  }
};

}  // namespace isogrid
