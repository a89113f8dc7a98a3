#include "trainer/train_state.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"
#include "core/tensor_file.h"
#include "models/rounding.h"

namespace isogrid {
namespace {

constexpr const char* kStateTensors = "trainer_state.safetensors";
constexpr const char* kStateJson = "trainer_state.json";
constexpr int64_t kStateVersion = 1;

// What only says where, when and how much is written or shown, or how fast it goes.
const std::set<std::string, std::less<>>& free_keys() {
  static const std::set<std::string, std::less<>> keys{"output_dir",
                                                       "overwrite_output_dir",
                                                       "log_level",
                                                       "logging_steps",
                                                       "logging_first_step",
                                                       "save_steps",
                                                       "save_strategy",
                                                       "save_total_limit",
                                                       "eval_steps",
                                                       "eval_strategy",
                                                       "eval_delay",
                                                       "eval_on_start",
                                                       "report_to",
                                                       "project",
                                                       "experiment_name",
                                                       "run_name",
                                                       "trackio_space_id",
                                                       "logging_dir",
                                                       "plot_loss",
                                                       "resume_from_checkpoint",
                                                       "do_eval",
                                                       "per_device_eval_batch_size",
                                                       "max_steps",
                                                       "num_train_epochs",
                                                       "early_stopping_steps",
                                                       "load_best_model_at_end",
                                                       "gradient_checkpointing",
                                                       "threads",
                                                       "device",
                                                       "overwrite_cache",
                                                       "tokenized_path",
                                                       "dataset_dir",
                                                       "non_finite",
                                                       "export_dir",
                                                       "export_formats",
                                                       "export_size",
                                                       "save_only_model",
                                                       "cache_dir",
                                                       "infer_dtype",
                                                       "grace_s",
                                                       "disk_full",
                                                       "include_num_input_tokens_seen",
                                                       "include_effective_tokens_per_second",
                                                       "logging_nan_inf_filter",
                                                       "enable_jit_checkpoint",
                                                       "do_train",
                                                       "model_name_or_path",
                                                       "dataset",
                                                       "eval_dataset",
                                                       "kd_cache",
                                                       "kd_teacher",
                                                       "kd_top_k",
                                                       "kd_negatives",
                                                       "kd_temperatures",
                                                       "kd_dtype",
                                                       "kd_num_sequences",
                                                       "kd_length",
                                                       "kd_batch_size",
                                                       "kd_shard_size",
                                                       "kd_held_out",
                                                       "kd_dataset_format",
                                                       "kd_thinking",
                                                       "kd_generate"};
  return keys;
}

Json progress_json(const Progress& p) {
  Json best = nullptr;
  if (p.best_metric) best = *p.best_metric;
  return {{"global_step", p.step},
          {"rows_consumed", p.rows},
          {"num_input_tokens_seen", p.tokens},
          {"loss_sum", p.loss_sum},
          {"updates", p.updates},
          {"train_seconds", p.train_seconds},
          {"skipped_in_a_row", p.skipped_in_a_row},
          {"skipped_steps", p.skipped_steps},
          {"best_metric", best},
          {"best_step", p.best_step},
          {"evaluated_step", p.evaluated_step},
          {"evaluations_without_gain", p.evaluations_without_gain}};
}

Progress read_progress(const JsonFields& fields) {
  Progress p;
  p.step = fields.integer("global_step", 0);
  p.rows = fields.integer("rows_consumed", 0);
  p.tokens = fields.integer("num_input_tokens_seen", 0);
  p.loss_sum = fields.number("loss_sum");
  p.updates = fields.integer("updates", 0);
  p.train_seconds = fields.number("train_seconds");
  p.skipped_in_a_row = fields.integer("skipped_in_a_row", 0);
  for (const Json& step : fields.value("skipped_steps")) p.skipped_steps.push_back(step);
  if (fields.has("best_metric")) p.best_metric = fields.number("best_metric");
  p.best_step = fields.integer("best_step", 0);
  p.evaluated_step = fields.integer_or("evaluated_step", -1);
  p.evaluations_without_gain = fields.integer("evaluations_without_gain", 0);
  return p;
}

Json provenance_json(const Provenance& provenance) {
  return {{"settings", provenance.settings},
          {"data_fingerprint", provenance.data_fingerprint},
          {"tokenizer_hash", provenance.tokenizer_hash},
          {"model_fingerprint", provenance.model_fingerprint},
          {"chat_template", provenance.chat_template}};
}

/// What moves although it does not train.
void visit_changing(CausalLm& model, const TensorVisitor& visitor) {
  model.visit([&](const TensorSlot& slot) {
    if (slot.changes) visitor(slot);
  });
}
std::string kept_name(const TensorSlot& slot) { return "kept." + slot.name; }

/// Every tensor a resume needs beyond the published files, by name.
std::vector<NamedTensor> state_tensors(Training& training, bool with_masters) {
  const Trainables& trainables = training.trainables;
  std::vector<NamedTensor> tensors;
  for (const TrainedSlice& slice : trainables.slices) {
    if (with_masters)
      tensors.push_back({"master." + slice.name, trainables.view(trainables.master, slice)});
    if (training.average.defined())
      tensors.push_back({"average." + slice.name, trainables.view(training.average, slice)});
  }
  visit_state(training.optimizer, trainables, [&](const std::string& name, at::Tensor& tensor) {
    tensors.push_back({name, tensor});
  });
  visit_changing(training.model, [&](const TensorSlot& slot) {
    tensors.push_back({kept_name(slot), *slot.tensor});
  });
  if (training.anchor)
    visit_anchor(*training.anchor, [&](const std::string& name, at::Tensor& tensor) {
      tensors.push_back({name, tensor});
    });
  visit_watch(training, !training.magnitudes.before.empty(),
              [&](const std::string& name, at::Tensor& tensor) {
                tensors.push_back({name, tensor});
              });
  return tensors;
}

[[noreturn]] void refuse_resume(const std::string& path, const std::string& what,
                                const std::string& was, const std::string& is) {
  fail(ExitCode::configuration, path, ": was made with ", what, " ", was, ", now it is ", is,
       "; going on would not be the same run. Give a new output_dir, or set it back");
}

/// The first setting that decides what comes out and is another now; none: the same run.
struct ChangedSetting {
  std::string key, was, is;
};
std::optional<ChangedSetting> changed_setting(const Json& saved, const Provenance& now) {
  for (const auto& [key, value] : now.settings) {
    if (may_change_on_resume(key) || !saved.contains(key)) continue;
    const std::string was = saved[key].is_string() ? saved[key].get<std::string>() : "?";
    if (was != value) return ChangedSetting{key, was, value};
  }
  return std::nullopt;
}

void check_provenance(const std::string& path, const JsonFields& saved, const Provenance& now) {
  if (const auto changed = changed_setting(saved.value("settings"), now))
    refuse_resume(path, changed->key + ":", changed->was, changed->is);
  const auto check = [&](const char* key, const std::string& value, const char* what) {
    const std::string was = saved.string(key);
    if (was != value) refuse_resume(path, what, was.substr(0, 16), value.substr(0, 16));
  };
  check("data_fingerprint", now.data_fingerprint, "training data of hash");
  check("tokenizer_hash", now.tokenizer_hash, "a tokenizer of hash");
  check("model_fingerprint", now.model_fingerprint, "model weights of hash");
  check("chat_template", now.chat_template, "the chat template");
}

/// Tensors of a checkpoint by name, and copies that are made only when all of them fit.
class StoredTensors {
 public:
  explicit StoredTensors(std::string path) : path_(std::move(path)) {}

  void add_file(const std::string& name) {
    const auto file =
        std::make_shared<const SafetensorsFile>((std::filesystem::path(path_) / name).string());
    for (const TensorEntry& entry : file->header().tensors())
      tensors_[entry.name] = view_tensor(file, entry);
  }
  void plan(const std::string& name, const at::Tensor& target) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end())
      fail(ExitCode::refused_input, path_, ": tensor '", name, "' is missing");
    if (found->second.sizes() != target.sizes() ||
        found->second.scalar_type() != target.scalar_type())
      fail(ExitCode::refused_input, path_, ": tensor '", name, "' is of another shape or type");
    copies_.emplace_back(target, found->second);
  }
  void copy_all() {
    const at::NoGradGuard no_grad;
    for (auto& [target, value] : copies_) target.copy_(value);
  }

 private:
  std::string path_;
  std::map<std::string, at::Tensor> tensors_;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies_;
};

void add_published_files(StoredTensors& stored, const std::string& path) {
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors") && name != kStateTensors) stored.add_file(name);
  }
}

void plan_masters(StoredTensors& stored, Training& training, const Publication& publication) {
  const bool published = publishes_masters(training, publication);
  const Trainables& trainables = training.trainables;
  for (const TrainedSlice& slice : trainables.slices)
    stored.plan(published ? published_name(publication, slice) : "master." + slice.name,
                trainables.view(trainables.master, slice));
}

/// The schedules of the weights as they stood when `step` steps were done, and what they keep.
void plan_kept(StoredTensors& stored, Training& training, int64_t step) {
  begin_step(training.model, {.step = step - 1});
  visit_changing(training.model,
                 [&](const TensorSlot& slot) { stored.plan(kept_name(slot), *slot.tensor); });
}

}  // namespace

namespace {

/// What a checkpoint says of the watch over magnitudes.
struct WatchState {
  int64_t settled = 0;
  bool snapped = false, remembers = false;
};

WatchState watch_state(const JsonFields& fields, const Training& training) {
  if (!training.magnitudes.on) return {};
  const JsonFields watch = fields.object("magnitude_watch");
  return {watch.integer("settled", 0), watch.boolean("snapped"), watch.boolean("remembers")};
}

}  // namespace

bool may_change_on_resume(const std::string& key) { return free_keys().count(key) > 0; }

bool was_saved_with(const std::string& path, const Provenance& now) {
  const std::string name = (std::filesystem::path(path) / kStateJson).string();
  if (!std::filesystem::exists(name)) return false;
  try {
    const Json json = read_json_file(name);
    return !changed_setting(JsonFields(json, name).object("provenance").value("settings"), now);
  } catch (const Error&) {
    return false;  // damaged: nobody's
  }
}

std::string settings_hash(const Provenance& provenance) {
  Sha256 hash;
  for (const auto& [key, value] : provenance.settings)
    if (!may_change_on_resume(key)) hash.update(as_bytes(key + ": " + value + "\n"));
  return to_hex(hash.finish());
}

std::vector<FileToWrite> state_files(Training& training, const Publication& publication,
                                     const Progress& progress, const Provenance& provenance) {
  Json json = progress_json(progress);
  json["format_version"] = kStateVersion;
  json["optimizer"] = {{"steps", training.optimizer.steps}};
  json["loss_scale"] = {{"value", training.loss_scale.value},
                        {"steps_without_overflow", training.loss_scale.steps_without_overflow}};
  json["provenance"] = provenance_json(provenance);
  if (training.magnitudes.on)
    json["magnitude_watch"] = {{"settled", training.magnitudes.settled},
                               {"snapped", training.magnitudes.snapped},
                               {"remembers", !training.magnitudes.before.empty()}};
  const std::vector<NamedTensor> tensors =
      state_tensors(training, !publishes_masters(training, publication));
  const SafetensorsLayout layout = plan_tensors(tensors);
  std::vector<FileToWrite> files;
  files.push_back({kStateTensors, layout.file_size, [layout, tensors](OutputFile& file) {
                     append_safetensors(file, layout, tensor_producer(tensors));
                   }});
  files.push_back(text_file(kStateJson, dump_json(json)));
  return files;
}

Progress load_state(const std::string& path, Training& training, const Publication& publication,
                    const Provenance& now) {
  const std::string name = (std::filesystem::path(path) / kStateJson).string();
  if (!std::filesystem::exists(name))
    fail(ExitCode::configuration, path,
         ": was saved with save_only_model, so a run cannot go on from it");
  const Json json = read_json_file(name);
  const JsonFields fields(json, name);
  if (fields.integer("format_version") > kStateVersion)
    fail(ExitCode::configuration, name, ": is of format ", fields.integer("format_version"),
         ", this program reads up to ", kStateVersion, ": use a newer one");
  check_provenance(path, fields.object("provenance"), now);
  const Progress progress = read_progress(fields);
  const JsonFields scale = fields.object("loss_scale");
  const double scale_value = scale.number("value");
  const int64_t without = scale.integer("steps_without_overflow", 0);
  const int64_t optimizer_steps = fields.object("optimizer").integer("steps", 0);

  StoredTensors stored(path);
  stored.add_file(kStateTensors);
  add_published_files(stored, path);
  plan_masters(stored, training, publication);
  plan_kept(stored, training, progress.step);
  const Trainables& trainables = training.trainables;
  if (training.average.defined())
    for (const TrainedSlice& slice : trainables.slices)
      stored.plan("average." + slice.name, trainables.view(training.average, slice));
  visit_state(training.optimizer, trainables,
              [&](const std::string& tensor_name, at::Tensor& tensor) {
                stored.plan(tensor_name, tensor);
              });
  if (training.anchor)
    visit_anchor(*training.anchor, [&](const std::string& tensor_name, at::Tensor& tensor) {
      stored.plan(tensor_name, tensor);
    });
  const WatchState watch = watch_state(fields, training);
  visit_watch(training, watch.remembers, [&](const std::string& tensor_name, at::Tensor& tensor) {
    stored.plan(tensor_name, tensor);
  });
  stored.copy_all();
  training.magnitudes.settled = watch.settled;
  if (watch.snapped) hold_magnitudes(training);
  training.loss_scale.value = scale_value;
  training.loss_scale.steps_without_overflow = without;
  training.optimizer.steps = optimizer_steps;
  refresh_working(training.trainables);
  refresh_row_lengths(training.model);
  return progress;
}

void load_masters(const std::string& path, int64_t step, Training& training,
                  const Publication& publication) {
  StoredTensors stored(path);
  const bool has_state = std::filesystem::exists(std::filesystem::path(path) / kStateTensors);
  if (has_state || !publishes_masters(training, publication)) stored.add_file(kStateTensors);
  add_published_files(stored, path);
  plan_masters(stored, training, publication);
  plan_kept(stored, training, step);
  if (training.average.defined())
    for (const TrainedSlice& slice : training.trainables.slices)
      stored.plan("average." + slice.name, training.trainables.view(training.average, slice));
  stored.copy_all();
  refresh_working(training.trainables);
  refresh_row_lengths(training.model);
}

}  // namespace isogrid
