#include "trainer/run_directory/checkpoint_store.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include "core/error.h"
#include "core/format.h"
#include "core/input_directory.h"
#include "core/json.h"
#include "core/log.h"
#include "core/manifest.h"
#include "trainer/run_directory/names.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kManifestReserve = 64 << 10;
constexpr size_t kMostDamaged = 1;  // skipped without asking

/// Files are named once, plainly, and not as the manifest: our own mistake otherwise.
void require_file_names(const std::vector<CheckpointFile>& files) {
  std::set<std::string> names{kManifestName};
  for (const CheckpointFile& file : files)
    if (!is_plain_file_name(file.name) || !names.insert(file.name).second)
      fail(ExitCode::internal, "a checkpoint cannot hold a file '", file.name, "'");
}

uint64_t total_size(const std::vector<CheckpointFile>& files) {
  uint64_t total = kManifestReserve;
  for (const CheckpointFile& file : files) total += file.size;
  return total;
}

/// A link to a folder is none: it is somebody else's.
bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == fs::file_type::directory;
}

/// Removes an unfinished folder, also while an exception passes.
class Staging {
 public:
  Staging(const OutputDirectory& parent, std::string name)
      : parent_(parent), name_(std::move(name)) {
    parent_.make(name_);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() {
    if (!finished_) parent_.remove(name_);
  }
  const std::string& name() const { return name_; }
  void finish() { finished_ = true; }

 private:
  const OutputDirectory& parent_;
  std::string name_;
  bool finished_ = false;
};

}  // namespace

CheckpointStore::CheckpointStore(const OutputDirectory& run, std::string run_id)
    : run_(run), run_id_(std::move(run_id)) {}

void CheckpointStore::commit(const CheckpointFacts& facts,
                             const std::vector<CheckpointFile>& files) {
  const std::string name = checkpoint_name(facts.step), path = path_of(facts.step);
  if (committed_.contains(facts.step) && is_folder(path)) return;
  require_file_names(files);
  const uint64_t bytes = total_size(files);
  try {
    require_space(name, bytes);
    Staging staging(run_, temporary_name(std::to_string(facts.step)));
    write_folder(staging.name(), facts, files);
    verified_.erase(facts.step);
    if (fs::exists(fs::symlink_status(path)))
      set_aside(facts.step, is_folder(path) && !is_sound(facts.step) ? "damaged" : "replaced");
    run_.move(staging.name(), name);
    staging.finish();
    run_.sync();
  } catch (const Error& error) {
    if (error.code() != ExitCode::io) throw;
    fail(ExitCode::io, error.what(), "\n", run_.shown(name), ": was not written (it needs ",
         human_bytes(bytes), "); earlier checkpoints are untouched");
  }
  verified_.erase(facts.step);
  committed_.insert(facts.step);
}

void CheckpointStore::require_space(const std::string& name, uint64_t bytes) const {
  const int64_t available = run_.io().free_bytes(run_.fd());
  const uint64_t needed = bytes + bytes / 10;
  if (available >= 0 && static_cast<uint64_t>(available) < needed)
    fail_write(run_.shown(name), "reserve", ENOSPC, run_.fd(), needed);
}

void CheckpointStore::write_folder(const std::string& temporary, const CheckpointFacts& facts,
                                   const std::vector<CheckpointFile>& files) const {
  const OutputDirectory folder(run_, temporary);
  Manifest manifest;
  for (const CheckpointFile& file : files) {
    OutputFile output(folder, file.name, file.size);
    file.produce(output);
    const WrittenFile written = output.finish();
    manifest.files[file.name] = {.bytes = written.bytes, .sha256 = to_hex(written.sha256)};
  }
  const Json header = {{"step", facts.step},
                       {"run_id", run_id_},
                       {"config_hash", facts.config_hash},
                       {"data_fingerprint", facts.data_fingerprint}};
  const std::string text = manifest_text(manifest, header);
  OutputFile output(folder, kManifestName, text.size());
  output.append(as_bytes(text));
  output.finish();
  folder.sync();
}

void CheckpointStore::set_aside(int64_t step, const char* reason) const {
  const std::string name = checkpoint_name(step);
  for (int k = 1;; ++k) {
    const std::string aside = concat(name, ".", reason, "-", k);
    if (fs::exists(fs::symlink_status(run_.shown(aside)))) continue;
    run_.move(name, aside);
    log_warning(concat(run_.shown(name), ": is ", reason, ", and kept as ", aside));
    return;
  }
}

std::vector<int64_t> CheckpointStore::go_on_from(int64_t step) {
  std::vector<int64_t> later = steps();
  std::erase_if(later, [&](int64_t other) { return other <= step || !is_of_this_run(other); });
  for (const int64_t other : later) {
    set_aside(other, is_sound(other) ? "replaced" : "damaged");
    committed_.erase(other);
    verified_.erase(other);
  }
  if (!later.empty()) run_.sync();
  if (is_folder(path_of(step)) && is_sound(step)) committed_.insert(step);
  return later;
}

std::vector<int64_t> CheckpointStore::steps() const {
  std::vector<int64_t> found;
  std::error_code problem;
  for (fs::directory_iterator entry(run_.path(), problem), end; !problem && entry != end;
       entry.increment(problem)) {
    const auto step = checkpoint_step(entry->path().filename().string());
    if (step && is_folder(entry->path().string())) found.push_back(*step);
  }
  if (problem) fail(ExitCode::io, run_.path(), ": cannot be listed: ", problem.message());
  std::sort(found.begin(), found.end(), std::greater<>());
  return found;
}

std::string CheckpointStore::path_of(int64_t step) const {
  return run_.shown(checkpoint_name(step));
}

bool CheckpointStore::is_sound(int64_t step) {
  if (verified_.contains(step)) return true;
  const CheckpointCheck check = check_checkpoint(path_of(step));
  if (!check.sound()) log_warning(concat(path_of(step), ": is damaged:", check.problems_text()));
  if (!check.sound() || check.facts.run_id != run_id_) return false;
  verified_.insert(step);
  return true;
}

/// One whose manifest cannot be read bears our name, so it is taken for ours.
bool CheckpointStore::is_of_this_run(int64_t step) const {
  const auto facts = read_checkpoint_facts(path_of(step));
  return !facts || facts->run_id == run_id_;
}

std::vector<int64_t> CheckpointStore::retain(const Retention& retention) {
  std::vector<int64_t> doomed =
      steps_to_delete(steps(), retention, [&](int64_t step) { return is_sound(step); });
  std::erase_if(doomed, [&](int64_t step) { return !is_of_this_run(step); });
  std::vector<std::string> trash;
  for (const int64_t step : doomed) {
    trash.push_back(trash_name(std::to_string(step)));
    run_.move(checkpoint_name(step), trash.back());
    committed_.erase(step);
    verified_.erase(step);
  }
  // Without this, power loss could leave the old name over a half-emptied folder.
  if (!doomed.empty()) run_.sync();
  for (const std::string& name : trash)
    if (!run_.remove(name))
      log_warning(concat(run_.shown(name), ": cannot be removed; the next start tries again"));
  return doomed;
}

std::optional<CheckpointCheck> CheckpointStore::newest() {
  std::vector<std::string> damaged;
  std::string report;
  for (const int64_t step : steps()) {
    CheckpointCheck check = check_checkpoint(path_of(step));
    if (check.sound() && check.facts.run_id != run_id_) {
      log_warning(concat(check.path, ": is of another run (", check.facts.run_id,
                         ") and left alone; resume_from_checkpoint can name it"));
      continue;
    }
    if (!check.sound()) {
      damaged.push_back(check.path);
      report += concat("\n", check.path, ": is damaged:", check.problems_text());
      continue;
    }
    if (damaged.size() > kMostDamaged)
      fail(ExitCode::refused_input, run_.path(), ": the ", damaged.size(),
           " newest checkpoints are damaged; 'resume_from_checkpoint: ", check.path,
           "' goes on from the newest sound one", report);
    if (!damaged.empty())
      log_warning(concat(report.substr(1), "\n", check.path, ": is used instead"));
    verified_.insert(step);
    return check;
  }
  if (damaged.empty()) return std::nullopt;
  fail(ExitCode::refused_input, run_.path(), ": holds no sound checkpoint to go on from",
       "; 'overwrite_output_dir: true' starts afresh", report);
}

}  // namespace isogrid
