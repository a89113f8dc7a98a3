#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace isogrid {

/// How text is drawn from the model.
struct GenerationConfig {
  bool do_sample = true;
  double temperature = 0.95;
  double top_p = 0.7;
  int64_t top_k = 50;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  int64_t max_new_tokens = 1024;
  std::optional<int64_t> max_length;
  bool skip_special_tokens = true;
  int64_t num_beams = 1;
  double length_penalty = 1.0;
  std::string infer_backend = "huggingface";

  void visit(auto&& field) {
    field("do_sample", do_sample, "Sample; false takes the likeliest token.");
    field("temperature", temperature, "Divides the logits before sampling.").above(0);
    field("top_p", top_p, "Smallest set of tokens with this probability.").above(0).at_most(1);
    field("top_k", top_k, "Likeliest tokens to sample from; 0 = all.").at_least(0);
    field("min_p", min_p, "Drops tokens below this share of the likeliest one.")
        .at_least(0)
        .at_most(1);
    field("repetition_penalty", repetition_penalty, "Above 1 discourages tokens already written.")
        .above(0);
    field("max_new_tokens", max_new_tokens, "Longest answer, in tokens.").at_least(1);
    field("max_length", max_length, "Longest prompt and answer together, in tokens.")
        .at_least(1)
        .unset("no bound but max_new_tokens");
    field("skip_special_tokens", skip_special_tokens, "Leave special tokens out of the text.");
    field("num_beams", num_beams, "Beams of beam search; 1 = none.").at_least(1).planned();
    field("length_penalty", length_penalty, "Exponent on the length in beam search.").planned();
    field("infer_backend", infer_backend, "Only the trainer's own code writes text.")
        .one_of({"huggingface"})
        .to_come({"vllm", "sglang", "ktransformers"})
        .spelled({{"hf", "huggingface"}});
  }
};

}  // namespace isogrid
