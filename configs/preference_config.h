#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// Learning from pairs, verdicts and rewards.
struct PreferenceConfig {
  std::string pref_loss = "sigmoid";
  double pref_beta = 0.1;
  double pref_ftx = 0.0;
  double pref_bco_weight = 0.0;
  double dpo_label_smoothing = 0.0;
  double simpo_gamma = 0.5;
  std::optional<double> ld_alpha;
  double kto_chosen_weight = 1.0;
  double kto_rejected_weight = 1.0;
  std::optional<std::string> ref_model;
  std::vector<std::string> ref_model_adapters;
  std::optional<int64_t> ref_model_quantization_bit;
  std::optional<std::string> reward_model;
  std::vector<std::string> reward_model_adapters;
  std::optional<int64_t> reward_model_quantization_bit;
  std::string reward_model_type = "lora";
  int64_t ppo_buffer_size = 1;
  int64_t ppo_epochs = 4;
  double ppo_target = 6.0;
  bool ppo_score_norm = false;
  bool ppo_whiten_rewards = false;

  void visit(auto&& field) {
    field("pref_loss", pref_loss, "Loss of stage dpo.")
        .one_of({"sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo"});
    field("pref_beta", pref_beta, "How strongly the reference holds.").above(0);
    field("pref_ftx", pref_ftx, "Weight of the chosen answers' own loss.").at_least(0);
    field("pref_bco_weight", pref_bco_weight, "Weight of the binary-classifier loss.").at_least(0);
    field("dpo_label_smoothing", dpo_label_smoothing, "Chance that a pair is the wrong way round.")
        .at_least(0)
        .at_most(0.5);
    field("simpo_gamma", simpo_gamma, "Margin of SimPO.");
    field("ld_alpha", ld_alpha, "Weight of an answer's tail beyond the shorter one (LD-DPO).")
        .at_least(0)
        .at_most(1);
    field("kto_chosen_weight", kto_chosen_weight, "Weight of desirable answers.").at_least(0);
    field("kto_rejected_weight", kto_rejected_weight, "Weight of undesirable answers.").at_least(0);
    field("ref_model", ref_model, "Reference model.").unset("the starting model");
    field("ref_model_adapters", ref_model_adapters, "Adapters of the reference model.");
    field("ref_model_quantization_bit", ref_model_quantization_bit, "Bits of the reference model.")
        .at_least(1)
        .at_most(8);
    field("reward_model", reward_model, "Reward model of ppo.");
    field("reward_model_adapters", reward_model_adapters, "Adapters of the reward model.");
    field("reward_model_quantization_bit", reward_model_quantization_bit, "Bits of that model.")
        .at_least(1)
        .at_most(8);
    field("reward_model_type", reward_model_type, "Kind of the reward model.")
        .one_of({"lora", "full", "api"});
    field("ppo_buffer_size", ppo_buffer_size, "Mini-batches per experience buffer.").at_least(1);
    field("ppo_epochs", ppo_epochs, "Passes over a buffer.").at_least(1);
    field("ppo_target", ppo_target, "Target divergence of adaptive control.").above(0);
    field("ppo_score_norm", ppo_score_norm, "Normalise scores.");
    field("ppo_whiten_rewards", ppo_whiten_rewards, "Whiten rewards.");
  }
};

}  // namespace isogrid
