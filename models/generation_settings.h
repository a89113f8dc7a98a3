#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/json_fwd.h"
#include "models/sampling.h"

namespace isogrid {

/// Settings of one source, each present or not: what the user typed, or a generation_config.json.
struct GenerationChoices {
  std::optional<bool> do_sample;
  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<int64_t> max_new_tokens;
  std::optional<int64_t> max_length;  // prompt and answer together
  std::vector<int32_t> eos_token_ids;

  /// The only list of the fields that merge one by one.
  void visit(auto&& field) {
    field("do_sample", do_sample);
    field("temperature", temperature);
    field("top_k", top_k);
    field("top_p", top_p);
    field("min_p", min_p);
    field("repetition_penalty", repetition_penalty);
    field("max_new_tokens", max_new_tokens);
    field("max_length", max_length);
  }
};

/// Everything decided.
struct GenerationSettings {
  SamplingSettings sampling;
  int64_t max_new_tokens = 0;  // 0 = only max_length bounds the answer
  int64_t max_length = 0;      // 0 = only max_new_tokens does
};

/// What a generation_config.json says. Other keys are not ours to judge; a value of the wrong type
/// is refused with the file's name.
GenerationChoices read_generation_config(const Json& object, const std::string& file_name);

/// A value the user gave wins, then the model's generation_config.json, then the default
/// (do_sample true, temperature 0.95, top_p 0.7, top_k 50, max_new_tokens 1024). The two lengths
/// are one question: they come from the first source that answers it, and there max_new_tokens
/// wins over max_length. Values out of range are refused, all of them at once.
GenerationSettings decide_generation(const GenerationChoices& user, const GenerationChoices& model);

/// The ids that end an answer: the model's, the tokenizer's eos, the template's; each once.
std::vector<int32_t> stop_ids(const GenerationChoices& model, std::vector<int32_t> others);

}  // namespace isogrid
