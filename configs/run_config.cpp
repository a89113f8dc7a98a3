#include "configs/run_config.h"

#include <algorithm>

#include "configs/foreign.h"
#include "configs/values.h"
#include "core/error.h"

namespace isogrid {
namespace {

std::string place_of(const RunConfig& config, std::string_view key) {
  const auto place = config.places.find(key);
  return place == config.places.end() ? std::string() : place->second + ": ";
}

std::vector<std::string> chosen_values(const Field& field) {
  if (auto list = std::get_if<std::vector<std::string>*>(&field.value)) return **list;
  return {plain_text_of(field)};
}

std::string unsupported_choice(const Field& field) {
  for (const std::string& value : chosen_values(field)) {
    const auto& later = field.choices_to_come;
    if (std::find(later.begin(), later.end(), value) != later.end()) return value;
  }
  return {};
}

}  // namespace

const std::vector<GroupInfo>& config_groups() {
  static const std::vector<GroupInfo> groups = {
      {Group::run, "Run", true},
      {Group::model, "Model", true},
      {Group::conversation, "Conversation", true},
      {Group::generation, "Generation", true},
      {Group::quantisation, "Quantised base", true},
      {Group::finetuning, "What trains", true},
      {Group::data, "Data", true},
      {Group::training, "Training", true},
      {Group::optimizer, "Optimizer and schedule", true},
      {Group::saving, "Evaluation, logs and checkpoints", true},
      {Group::tracking, "Trackers", true},
      {Group::preference, "Preference learning", false},
      {Group::exporting, "Export", true},
      {Group::qat, "Quantisation-aware training", true},
      {Group::lut, "Look-up-table layers", true},
      {Group::kd, "Distillation", true},
      {Group::optimizer_family, "Other families of optimizers", false},
  };
  return groups;
}

std::vector<Field> fields_of(RunConfig& config) {
  FieldList list;
  const auto add = [&list](Group group, auto& part) {
    list.start_group(static_cast<int>(group));
    part.visit(list);
  };
  add(Group::run, config.run);
  add(Group::model, config.model);
  add(Group::conversation, config.conversation);
  add(Group::generation, config.generation);
  add(Group::quantisation, config.quantisation);
  add(Group::finetuning, config.finetuning);
  add(Group::data, config.data);
  add(Group::training, config.training);
  add(Group::optimizer, config.optimizer);
  add(Group::saving, config.saving);
  add(Group::tracking, config.tracking);
  add(Group::preference, config.preference);
  add(Group::exporting, config.exporting);
  add(Group::qat, config.qat);
  add(Group::lut, config.lut);
  add(Group::kd, config.kd);
  add(Group::optimizer_family, config.optimizer_family);
  return list.take();
}

bool waits_for_code(const Field& field) {
  return field.is_planned || !config_groups()[static_cast<size_t>(field.group)].is_built;
}

const std::string& required_model(const RunConfig& config) {
  if (!config.model.model_name_or_path || config.model.model_name_or_path->empty())
    fail(ExitCode::configuration,
         "model_name_or_path is missing: give a model folder, or a Hugging Face id that lies in "
         "the local hub cache");
  return *config.model.model_name_or_path;
}

const std::string& inference_dtype(const RunConfig& config) {
  return config.run.infer_dtype != "auto" ? config.run.infer_dtype : config.run.compute_dtype;
}

std::vector<Refusal> refusals(const RunConfig& config, Groups reads) {
  std::vector<Refusal> found;
  const auto refuse = [&](std::string_view key, const auto&... parts) {
    found.push_back({std::string(key), concat(place_of(config, key), key, " = ", parts...)});
  };
  RunConfig current = config, defaults;
  const std::vector<Field> fields = fields_of(current), usual = fields_of(defaults);
  for (size_t i = 0; i < fields.size(); ++i) {
    const Field& field = fields[i];
    const std::string value = yaml_of(field), usual_value = yaml_of(usual[i]);
    if (!reads.has(static_cast<Group>(field.group)) || value == usual_value) continue;
    if (field.name == "output_dir") continue;  // its default is made from the config's name
    const std::string later = unsupported_choice(field);
    if (!later.empty())
      refuse(field.name, later, ": not supported yet; allowed: ", allowed_text(field));
    else if (waits_for_code(field))
      refuse(field.name, value, ": not supported yet; leave it out or at ", usual_value);
  }
  for (const auto& [name, value] : config.foreign) {
    const ForeignKey* key = find_foreign(name);
    if (key && reads.has(key->group))
      refuse(name, value, ": not supported: ", key->why, "; leave it out");
  }
  return found;
}

void check_supported(const RunConfig& config, Groups reads) {
  std::vector<std::string> problems;
  for (Refusal& refusal : refusals(config, reads)) problems.push_back(std::move(refusal.text));
  if (!problems.empty()) fail(ExitCode::configuration, joined_problems("", problems));
}

}  // namespace isogrid
