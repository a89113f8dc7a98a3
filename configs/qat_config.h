#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// Training on the grid of the file that is shipped.
struct QatConfig {
  std::optional<std::string> qat_target;
  std::string qat_scale_mode = "derived";
  int64_t qat_start_step = 0;
  std::string qat_activations = "none";
  std::vector<std::string> qat_exclude;
  std::string qat_ste = "plain";
  std::string qat_lora = "merged";
  int64_t qat_refresh_steps = 100;
  double qat_freeze_share = 0.1;

  void visit(auto&& field) {
    field("qat_target", qat_target, "The file trained for: gguf:q4_0, nf4, universal_int4, ...")
        .unset("no quantisation in training");
    field("qat_scale_mode", qat_scale_mode, "Where scales come from.")
        .one_of({"derived", "learned", "frozen"});
    field("qat_start_step", qat_start_step, "Steps before rounding begins.").at_least(0);
    field("qat_activations", qat_activations, "Rounding of activations.")
        .one_of({"none", "int8_token", "q8_block"});
    field("qat_exclude", qat_exclude, "Modules left as they are.");
    field("qat_ste", qat_ste, "Gradient of the rounding.").one_of({"plain", "clipped"});
    field("qat_lora", qat_lora, "What is rounded under an adapter.").one_of({"merged", "base"});
    field("qat_refresh_steps", qat_refresh_steps, "Steps between searches of a searched grid.")
        .at_least(1);
    field("qat_freeze_share", qat_freeze_share, "Last share of the run without a new search.")
        .at_least(0)
        .at_most(1);
  }
};

/// Look-up-table layers: codes x low-rank scales.
struct LutConfig {
  std::optional<std::string> lut_preset;
  std::optional<int64_t> lut_mlp_bits;
  std::optional<int64_t> lut_mlp_rank;
  std::optional<int64_t> lut_attention_bits;
  std::optional<int64_t> lut_attention_rank;
  int64_t lut_group_size = 32;
  std::string lut_parameters = "v2";
  std::string lut_init = "als";
  std::string lut_forward = "materialised";
  std::vector<std::string> lut_train = {"scales"};
  std::string lut_families = "all";
  std::string lut_freeze_magnitudes = "none";
  bool lut_auto_snap = false;
  double lut_auto_snap_threshold = 0.05;
  int64_t lut_auto_snap_patience = 2;
  int64_t lut_auto_snap_start_step = 100;
  int64_t lut_auto_snap_steps = 50;
  bool lut_ste_fp16 = true;
  std::optional<double> lut_learning_rate;
  int64_t lut_recode_steps = 0;
  double lut_recode_hysteresis = 0.25;
  bool lut_layer_by_layer = false;
  int64_t lut_local_steps = 100;

  void visit(auto&& field) {
    field("lut_preset", lut_preset, "Bits and ranks by name: q2a4, q4a4, q4a4_r32, q2a2, ...")
        .unset("no look-up-table layers");
    field("lut_mlp_bits", lut_mlp_bits, "Bits in the MLP.").at_least(2).at_most(4);
    field("lut_mlp_rank", lut_mlp_rank, "Rank of the MLP's scales.").at_least(1);
    field("lut_attention_bits", lut_attention_bits, "Bits in attention.").at_least(2).at_most(4);
    field("lut_attention_rank", lut_attention_rank, "Rank of attention's scales.").at_least(1);
    field("lut_group_size", lut_group_size, "Columns sharing a first scale.").at_least(1);
    field("lut_parameters", lut_parameters, "Form of the scales.").one_of({"balanced", "v1", "v2"});
    field("lut_init", lut_init, "How scales and table start.")
        .one_of({"max_abs", "mse", "als", "kmeans"});
    field("lut_forward", lut_forward, "How the weight is formed.")
        .one_of({"materialised", "factored", "batched"});
    field("lut_train", lut_train, "What of the layers trains, and norms beside them.")
        .one_of({"scales", "magnitudes", "table", "weights", "norms"});
    field("lut_families", lut_families, "Which layers train.").one_of({"all", "mlp", "attention"});
    field("lut_freeze_magnitudes", lut_freeze_magnitudes, "Magnitudes held fixed.")
        .one_of({"none", "all", "mlp", "attention"});
    field("lut_auto_snap", lut_auto_snap, "Round and freeze magnitudes once they settle.");
    field("lut_auto_snap_threshold", lut_auto_snap_threshold, "Relative change that is settled.")
        .above(0);
    field("lut_auto_snap_patience", lut_auto_snap_patience, "Settled looks in a row.").at_least(1);
    field("lut_auto_snap_start_step", lut_auto_snap_start_step, "First look.").at_least(0);
    field("lut_auto_snap_steps", lut_auto_snap_steps, "Steps from look to look.").at_least(1);
    field("lut_ste_fp16", lut_ste_fp16, "Scales as float16 will hold them, in every forward.");
    field("lut_learning_rate", lut_learning_rate, "Rate of the table.")
        .above(0)
        .unset("learning_rate");
    field("lut_recode_steps", lut_recode_steps, "Steps between new codes; 0 = never.").at_least(0);
    field("lut_recode_hysteresis", lut_recode_hysteresis,
          "A code flips for a value nearer by this share of the distance.")
        .at_least(0);
    field("lut_layer_by_layer", lut_layer_by_layer, "Fit each MLP to its own output first.");
    field("lut_local_steps", lut_local_steps, "Steps of that for each block.").at_least(1);
  }
};

}  // namespace isogrid
