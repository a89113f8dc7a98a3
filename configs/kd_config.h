#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// Learning from a teacher whose best guesses lie in a cache.
struct KdConfig {
  std::optional<std::string> kd_cache;
  std::optional<std::string> kd_teacher;
  std::string kd_loss = "exact";
  double kd_weight = 1.0;
  double kd_ce_weight = 0.0;
  double kd_temperature = 2.0;
  double kd_hard_top1 = 0.0;
  std::optional<double> kd_hard_top1_end;
  double kd_hard_full = 0.0;
  double kd_sampled_ce = 0.0;
  int64_t kd_sampled_negatives = 64;
  std::optional<std::string> kd_anchor;
  double kd_anchor_weight = 0.01;
  int64_t kd_anchor_samples = 16;
  int64_t kd_anchor_interval = 1;
  int64_t kd_top_k = 128;
  int64_t kd_negatives = 0;
  std::vector<double> kd_temperatures;
  std::string kd_dtype = "float32";
  std::optional<int64_t> kd_num_sequences;
  std::optional<int64_t> kd_length;
  int64_t kd_batch_size = 8;
  int64_t kd_shard_size = 1024;
  double kd_held_out = 0.02;
  std::optional<std::string> kd_dataset_format;
  std::optional<std::string> kd_thinking;
  bool kd_generate = false;

  void visit(auto&& field) {
    field("kd_cache", kd_cache, "Folder of the teacher's cache.").unset("no teacher");
    field("kd_teacher", kd_teacher, "Model that fills the cache.").unset("model_name_or_path");
    field("kd_loss", kd_loss, "Form of the loss.").one_of({"exact", "candidates", "a", "b"});
    field("kd_weight", kd_weight, "Weight of the teacher's loss.").at_least(0);
    field("kd_ce_weight", kd_ce_weight, "Weight of the labels' loss.").at_least(0);
    field("kd_temperature", kd_temperature, "Temperature of both distributions.").above(0);
    field("kd_hard_top1", kd_hard_top1, "Weight of the teacher's first guess.").at_least(0);
    field("kd_hard_top1_end", kd_hard_top1_end, "The same at the end of the run.")
        .at_least(0)
        .unset("no change");
    field("kd_hard_full", kd_hard_full, "Weight of that guess over the whole vocabulary.")
        .at_least(0);
    field("kd_sampled_ce", kd_sampled_ce,
          "Weight of that guess among the guesses and tokens drawn by chance in every step.")
        .at_least(0);
    field("kd_sampled_negatives", kd_sampled_negatives, "How many of those.")
        .at_least(1)
        .at_most(65536);
    field("kd_anchor", kd_anchor,
          "Model held on to: start (as the run began), or the folder of another.")
        .unset("no anchor");
    field("kd_anchor_weight", kd_anchor_weight, "Weight of the divergence from it.").above(0);
    field("kd_anchor_samples", kd_anchor_samples, "Rows on which the two are compared, in turn.")
        .at_least(1)
        .at_most(65536);
    field("kd_anchor_interval", kd_anchor_interval, "Steps from one such row to the next.")
        .at_least(1);
    field("kd_top_k", kd_top_k, "Guesses stored per position.").at_least(1).at_most(256);
    field("kd_negatives", kd_negatives, "Random tokens stored beside them.")
        .at_least(0)
        .at_most(65536);
    field("kd_temperatures", kd_temperatures,
          "Temperatures whose tail is stored beside 1 and kd_temperature.")
        .above(0);
    field("kd_dtype", kd_dtype, "Type of the stored log-probabilities.")
        .one_of({"float32", "float16"});
    field("kd_num_sequences", kd_num_sequences, "Documents of the cache, drawn by chance.")
        .at_least(1)
        .unset("all");
    field("kd_length", kd_length, "Tokens per document.").at_least(2).unset("cutoff_len");
    field("kd_batch_size", kd_batch_size, "Documents the teacher reads at once.").at_least(1);
    field("kd_shard_size", kd_shard_size, "Documents per file.").at_least(1);
    field("kd_held_out", kd_held_out,
          "Share of documents kept for evaluation where neither val_size nor eval_dataset says.")
        .at_least(0)
        .below(1);
    field("kd_dataset_format", kd_dataset_format, "Conversations or plain text.")
        .one_of({"chat", "plain"})
        .unset("by stage");
    field("kd_thinking", kd_thinking, "Renderings of each conversation.")
        .one_of({"none", "false", "true", "both", "all"})
        .or_bool()
        .unset("by enable_thinking");
    field("kd_generate", kd_generate, "The teacher writes the last answer of each conversation.");
  }
};

}  // namespace isogrid
