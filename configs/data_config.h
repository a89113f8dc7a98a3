#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isogrid {

/// Which rows, and how they become tokens and labels.
struct DataConfig {
  std::vector<std::string> dataset;
  std::vector<std::string> eval_dataset;
  std::string dataset_dir = "data";
  std::optional<std::string> media_dir;
  int64_t cutoff_len = 2048;
  bool train_on_prompt = false;
  bool mask_history = false;
  double val_size = 0.0;
  bool eval_on_each_dataset = false;
  std::optional<bool> packing;
  bool neat_packing = false;
  bool streaming = false;
  int64_t buffer_size = 16384;
  std::string mix_strategy = "concat";
  std::vector<double> interleave_probs;
  std::optional<int64_t> max_samples;
  int64_t max_bad_rows = 0;
  bool overwrite_cache = false;
  int64_t preprocessing_batch_size = 1000;
  std::optional<std::string> tokenized_path;
  bool ignore_pad_token_for_loss = true;
  bool disable_shuffling = false;
  bool group_by_length = false;
  bool dataloader_drop_last = false;
  std::optional<int64_t> data_seed;

  void visit(auto&& field) {
    field("dataset", dataset, "Names in dataset_info.json, or files.");
    field("eval_dataset", eval_dataset, "The same, for evaluation.");
    field("dataset_dir", dataset_dir, "Folder of dataset_info.json.");
    field("media_dir", media_dir, "Folder of pictures and sounds.").unset("dataset_dir").planned();
    field("cutoff_len", cutoff_len, "Longest example, in tokens; longest pack.").at_least(1);
    field("train_on_prompt", train_on_prompt, "Labels on the prompt too.");
    field("mask_history", mask_history, "Labels on the last answer only.");
    field("val_size", val_size, "Rows held out: a share below 1, or a count from 2 on.")
        .share_or_count_not_one();
    field("eval_on_each_dataset", eval_on_each_dataset, "One figure per evaluation dataset.");
    field("packing", packing, "Several examples per row.").unset("true in pt, else false");
    field("neat_packing", neat_packing, "Packing; documents never see each other either way.");
    field("streaming", streaming, "Read rows as they are needed.").planned();
    field("buffer_size", buffer_size, "Rows shuffled together when streaming.").at_least(1);
    field("mix_strategy", mix_strategy, "How several datasets become one.")
        .one_of({"concat", "interleave_under", "interleave_over", "interleave_once"});
    field("interleave_probs", interleave_probs, "Chance of each dataset when interleaving.")
        .at_least(0)
        .at_most(1);
    field("max_samples", max_samples, "First rows taken of each dataset.").at_least(1).unset("all");
    field("max_bad_rows", max_bad_rows, "Unusable rows tolerated, each reported.").at_least(0);
    field("overwrite_cache", overwrite_cache, "Tokenise again even if the cache fits.");
    field("preprocessing_batch_size", preprocessing_batch_size, "Examples per packing window.")
        .at_least(1);
    field("tokenized_path", tokenized_path, "Folder of the tokenised rows.")
        .unset("found by content");
    field("ignore_pad_token_for_loss", ignore_pad_token_for_loss,
          "No effect: there is no padding here.");
    field("disable_shuffling", disable_shuffling, "Rows in the order of the files.");
    field("group_by_length", group_by_length, "Examples of like length together.");
    field("dataloader_drop_last", dataloader_drop_last, "Leave out the last short batch.");
    field("data_seed", data_seed, "Seed of the order of rows.").at_least(0).unset("seed");
  }
};

}  // namespace isogrid
