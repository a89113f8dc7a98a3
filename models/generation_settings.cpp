#include "models/generation_settings.h"

#include <algorithm>
#include <limits>
#include "core/error.h"
#include "core/json.h"

namespace isogrid {
namespace {

void read(const JsonFields& file, const char* key, std::optional<bool>& value) {
  if (file.has(key)) value = file.boolean(key);
}
void read(const JsonFields& file, const char* key, std::optional<double>& value) {
  if (file.has(key)) value = file.number(key);
}
void read(const JsonFields& file, const char* key, std::optional<int64_t>& value) {
  if (file.has(key)) value = file.integer(key);
}

int32_t token_id(const JsonFields& file, const Json& id) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  const bool fits = id.is_number_unsigned() ? id.get<uint64_t>() <= uint64_t{most}
                                            : id.is_number_integer() && id.get<int64_t>() >= 0;
  if (!fits) file.refuse("eos_token_id", "a token id or a list of them");
  return static_cast<int32_t>(id.get<int64_t>());
}

GenerationChoices built_in() {
  GenerationChoices choices;
  choices.do_sample = true;
  choices.temperature = 0.95;
  choices.top_k = 50;
  choices.top_p = 0.7;
  choices.min_p = 0.0;
  choices.repetition_penalty = 1.0;
  choices.max_new_tokens = 1024;
  return choices;
}

template <typename Value>
Value first_of(const std::optional<Value>& user, const std::optional<Value>& model,
               const std::optional<Value>& otherwise) {
  return user ? *user : model ? *model : *otherwise;
}

}  // namespace

GenerationChoices read_generation_config(const Json& object, const std::string& file_name) {
  const JsonFields file(object, file_name);
  GenerationChoices choices;
  choices.visit([&](const char* key, auto& value) { read(file, key, value); });
  if (!file.has("eos_token_id")) return choices;
  const Json& eos = file.value("eos_token_id");
  if (!eos.is_array()) {
    choices.eos_token_ids.push_back(token_id(file, eos));
  } else {
    for (const Json& id : eos) choices.eos_token_ids.push_back(token_id(file, id));
  }
  return choices;
}

GenerationSettings decide_generation(const GenerationChoices& user,
                                     const GenerationChoices& model) {
  const GenerationChoices otherwise = built_in();
  GenerationSettings settings;
  SamplingSettings& sampling = settings.sampling;
  sampling.do_sample = first_of(user.do_sample, model.do_sample, otherwise.do_sample);
  sampling.temperature = first_of(user.temperature, model.temperature, otherwise.temperature);
  sampling.top_k = first_of(user.top_k, model.top_k, otherwise.top_k);
  sampling.top_p = first_of(user.top_p, model.top_p, otherwise.top_p);
  sampling.min_p = first_of(user.min_p, model.min_p, otherwise.min_p);
  sampling.repetition_penalty =
      first_of(user.repetition_penalty, model.repetition_penalty, otherwise.repetition_penalty);
  for (const GenerationChoices* source : {&user, &model, &otherwise}) {
    if (!source->max_new_tokens && !source->max_length) continue;
    settings.max_new_tokens = source->max_new_tokens.value_or(0);
    settings.max_length = source->max_new_tokens ? 0 : *source->max_length;
    break;
  }
  std::string problems;
  for (const std::string& problem : sampling.problems()) problems += problem + "\n";
  if (settings.max_new_tokens < 0 || settings.max_length < 0 ||
      settings.max_new_tokens + settings.max_length == 0) {
    problems += concat(settings.max_length != 0 ? "max_length = " : "max_new_tokens = ",
                       settings.max_new_tokens + settings.max_length, ": allowed are 1 and more\n");
  }
  if (!problems.empty()) {
    problems.pop_back();
    fail(ExitCode::configuration, problems);
  }
  return settings;
}

std::vector<int32_t> stop_ids(const GenerationChoices& model, std::vector<int32_t> others) {
  others.insert(others.end(), model.eos_token_ids.begin(), model.eos_token_ids.end());
  std::sort(others.begin(), others.end());
  others.erase(std::unique(others.begin(), others.end()), others.end());
  others.erase(others.begin(), std::lower_bound(others.begin(), others.end(), 0));
  return others;
}

}  // namespace isogrid
