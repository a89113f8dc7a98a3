#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "configs/conversation_config.h"
#include "configs/data_config.h"
#include "configs/export_config.h"
#include "configs/finetuning_config.h"
#include "configs/generation_config.h"
#include "configs/kd_config.h"
#include "configs/model_config.h"
#include "configs/optimizer_config.h"
#include "configs/preference_config.h"
#include "configs/qat_config.h"
#include "configs/quantisation_config.h"
#include "configs/run_settings.h"
#include "configs/saving_config.h"
#include "configs/tracking_config.h"
#include "configs/training_config.h"
#include "core/fields.h"

namespace isogrid {

/// Everything a user can set. The key in a file is the member's name; groups only sort them here.
struct RunConfig {
  RunSettings run;
  ModelConfig model;
  ConversationConfig conversation;
  GenerationConfig generation;
  QuantisationConfig quantisation;
  FinetuningConfig finetuning;
  DataConfig data;
  TrainingConfig training;
  OptimizerConfig optimizer;
  SavingConfig saving;
  TrackingConfig tracking;
  PreferenceConfig preference;
  ExportConfig exporting;
  QatConfig qat;
  LutConfig lut;
  KdConfig kd;
  OptimizerFamilyConfig optimizer_family;

  /// Settings that only another stack has and that change a run: name -> value as YAML.
  std::map<std::string, std::string> foreign;
  /// Where each key was written: "file:line:column" or "--key". For messages.
  std::map<std::string, std::string, std::less<>> places;

  bool is_given(std::string_view key) const { return places.find(key) != places.end(); }
};

enum class Group {
  run,
  model,
  conversation,
  generation,
  quantisation,
  finetuning,
  data,
  training,
  optimizer,
  saving,
  tracking,
  preference,
  exporting,
  qat,
  lut,
  kd,
  optimizer_family,
};

struct GroupInfo {
  Group group;
  std::string_view title;
  bool is_built;  // false: every key of it waits for its code
};

/// A set of groups, to say which settings a command reads.
class Groups {
 public:
  template <typename... Each>
  constexpr Groups(Each... groups) : bits_((0u | ... | (1u << static_cast<unsigned>(groups)))) {}
  static constexpr Groups all() { return from_bits(~0u); }
  constexpr bool has(Group group) const { return bits_ >> static_cast<unsigned>(group) & 1u; }
  constexpr Groups operator|(Groups other) const { return from_bits(bits_ | other.bits_); }

 private:
  static constexpr Groups from_bits(unsigned bits) {
    Groups groups;
    groups.bits_ = bits;
    return groups;
  }
  unsigned bits_;
};

const std::vector<GroupInfo>& config_groups();

/// The one list of keys, in printing order. The pointers reach into `config`.
std::vector<Field> fields_of(RunConfig& config);

/// True where a value other than the default has no code behind it yet.
bool waits_for_code(const Field& field);

/// The folder or hub id of `model_name_or_path`; refuses when there is none.
const std::string& required_model(const RunConfig& config);

/// The number type chat, generate, eval and logits compute in: `auto` or a dtype's name.
const std::string& inference_dtype(const RunConfig& config);

/// One setting that asks for what no code does yet.
struct Refusal {
  std::string key;
  std::string text;
};
std::vector<Refusal> refusals(const RunConfig& config, Groups reads);

/// Refuses, all at once, what `config` asks of the groups a command reads and no code does yet.
void check_supported(const RunConfig& config, Groups reads);

}  // namespace isogrid
