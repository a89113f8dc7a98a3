#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace isogrid {

/// When a run is measured, logged, and put on disk.
struct SavingConfig {
  double logging_steps = 500;
  bool logging_first_step = false;
  bool logging_nan_inf_filter = true;
  std::string eval_strategy = "no";
  std::optional<double> eval_steps;
  double eval_delay = 0;
  bool eval_on_start = false;
  std::string save_strategy = "steps";
  double save_steps = 500;
  std::optional<int64_t> save_total_limit;
  bool save_only_model = false;
  std::optional<std::string> resume_from_checkpoint;
  bool ignore_data_skip = false;
  bool load_best_model_at_end = false;
  std::string metric_for_best_model = "loss";
  std::optional<bool> greater_is_better;
  std::optional<int64_t> early_stopping_steps;
  bool enable_jit_checkpoint = false;
  bool plot_loss = false;
  bool include_effective_tokens_per_second = false;
  bool include_num_input_tokens_seen = false;

  void visit(auto&& field) {
    field("logging_steps", logging_steps, "Steps between log rows; below 1, a share of the run.")
        .share_or_count()
        .above(0);
    field("logging_first_step", logging_first_step, "Log the first step too.");
    field("logging_nan_inf_filter", logging_nan_inf_filter,
          "No effect: a NaN is never hidden here (see non_finite).");
    field("eval_strategy", eval_strategy, "When to evaluate.").one_of({"no", "steps", "epoch"});
    field("eval_steps", eval_steps, "Steps between evaluations; below 1, a share of the run.")
        .share_or_count()
        .above(0)
        .unset("logging_steps");
    field("eval_delay", eval_delay, "Epochs or steps before the first evaluation.").at_least(0);
    field("eval_on_start", eval_on_start, "Evaluate before the first step.");
    field("save_strategy", save_strategy, "When to write a checkpoint.")
        .one_of({"no", "steps", "epoch", "best"});
    field("save_steps", save_steps, "Steps between checkpoints; below 1, a share of the run.")
        .share_or_count()
        .above(0);
    field("save_total_limit", save_total_limit, "Checkpoints kept beside the best one.")
        .at_least(1)
        .unset("all");
    field("save_only_model", save_only_model, "Checkpoints that cannot be resumed.");
    field("resume_from_checkpoint", resume_from_checkpoint,
          "A checkpoint folder, true for the newest in output_dir, or false for none.")
        .or_bool()
        .unset("the newest in output_dir, if there is one");
    field("ignore_data_skip", ignore_data_skip, "Resume with the first row again.").planned();
    field("load_best_model_at_end", load_best_model_at_end, "End with the best checkpoint.");
    field("metric_for_best_model", metric_for_best_model, "What best means.")
        .one_of({"loss", "eval_loss"})
        .to_come({"accuracy", "eval_accuracy"});
    field("greater_is_better", greater_is_better, "Whether more of it is better.")
        .unset("false for a loss");
    field("early_stopping_steps", early_stopping_steps, "Evaluations without gain before the end.")
        .at_least(1)
        .unset("never stop early");
    field("enable_jit_checkpoint", enable_jit_checkpoint,
          "No effect: SIGTERM always commits a checkpoint here.");
    field("plot_loss", plot_loss, "Draw training_loss.svg and .png; done either way.");
    field("include_effective_tokens_per_second", include_effective_tokens_per_second,
          "Log tokens per second; done either way.");
    field("include_num_input_tokens_seen", include_num_input_tokens_seen,
          "Log tokens seen; done either way.");
  }
};

}  // namespace isogrid
