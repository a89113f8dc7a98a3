#include "trainer/run_directory/run_directory.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/log.h"
#include "core/version.h"
#include "trainer/run_directory/names.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kRunFormat = 1;
constexpr const char* kProgram = "isogrid";
constexpr uint64_t kMaxRunFile = 64 << 10;

struct RunFile {
  std::string run_id, created;
  int64_t attempts = 0;
  bool finished = false;
};

std::vector<std::string> entries_of(const std::string& path) {
  std::vector<std::string> names;
  std::error_code problem;
  for (fs::directory_iterator entry(path, problem), end; !problem && entry != end;
       entry.increment(problem))
    names.push_back(entry->path().filename().string());
  if (problem) fail(ExitCode::io, path, ": cannot be listed: ", problem.message());
  std::sort(names.begin(), names.end());
  return names;
}

/// What may be there before the first run.json is: our own beginnings, a disk's own folder.
bool is_no_content(const std::string& name) {
  return name == kLockName || name == "lost+found" || is_leftover(name);
}

/// The folder's run.json; none in a folder that holds nothing. Anything else is not ours: 73.
std::optional<RunFile> find_run(const std::string& path) {
  constexpr const char* kAdvice = "; allowed is a new or empty folder, or one that a run made";
  const std::string file = (fs::path(path) / kRunName).string();
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  if (!fs::exists(fs::symlink_status(file, ignored))) {
    for (const std::string& name : entries_of(path))
      if (!is_no_content(name))
        fail(ExitCode::locked, path, ": is not empty ('", shown_text(name),
             "') and holds no run: there is no ", kRunName, kAdvice);
    return std::nullopt;
  }
  try {
    const Json json = parse_json(read_text_file(file, kMaxRunFile), file);
    const JsonFields fields(json, file);
    if (fields.string("program") != kProgram)
      fields.refuse("program", concat("\"", kProgram, "\""));
    if (fields.integer("format_version", 1) > kRunFormat)
      fields.refuse("format_version", concat("at most ", kRunFormat, "; a newer program wrote it"));
    return RunFile{.run_id = fields.string("run_id"),
                   .created = fields.string("created"),
                   .attempts = fields.integer("attempts", 0),
                   .finished = json.value("finished", Json(false)) == true};
  } catch (const Error& error) {
    fail(ExitCode::locked, path, ": is not a run this program can go on with: ", error.what(),
         kAdvice);
  }
}

const std::string& made(const std::string& path, IoCalls& io) {
  find_run(path);  // nothing is written into a folder of others
  make_directories(path, io);
  return path;
}

}  // namespace

RunDirectory::RunDirectory(const std::string& path, bool overwrite, IoCalls& io)
    : directory_(made(path, io), io), lock_(directory_) {
  const std::optional<RunFile> earlier = find_run(path);
  const bool goes_on = earlier && !overwrite;
  run_id_ = goes_on ? earlier->run_id : random_name_part();
  created_ = goes_on ? earlier->created : utc_now();
  attempt_ = goes_on ? earlier->attempts + 1 : 1;
  lock_.sign(run_id_);
  if (earlier && overwrite) remove_earlier_run();
  write_run_file();
  remove_leftovers();
}

/// Renamed first, deleted after the renames are on the disk: at no moment can a half-emptied
/// checkpoint bear a checkpoint's name. run.json stays until the new one replaces it, so an
/// interruption leaves a folder that is still known as ours.
void RunDirectory::remove_earlier_run() const {
  for (const std::string& name : entries_of(path()))
    if (is_run_entry(name) && name != kRunName) directory_.move(name, trash_name("run"));
  directory_.sync();
}

void RunDirectory::write_run_file() const {
  const Json run = {{"format_version", kRunFormat}, {"program", kProgram},
                    {"version", program_version()}, {"run_id", run_id_},
                    {"created", created_},          {"attempts", attempt_},
                    {"finished", finished_}};
  write_file_durably(directory_.shown(kRunName), as_bytes(dump_json(run)), directory_.io());
}

void RunDirectory::mark_finished() {
  finished_ = true;
  write_run_file();
}

void RunDirectory::remove_leftovers() const {
  for (const std::string& name : entries_of(path()))
    if (is_leftover(name) && !directory_.remove(name))
      log_warning(concat(directory_.shown(name), ": is left over and cannot be removed"));
}

bool is_run_directory(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(fs::path(path) / kRunName, ignored);
}

std::vector<std::string> checkpoints_of_unfinished_run(const std::string& path) {
  const std::optional<RunFile> run = find_run(path);
  if (!run || run->finished) return {};
  std::vector<int64_t> steps;
  for (const std::string& name : entries_of(path))
    if (const auto step = checkpoint_step(name)) steps.push_back(*step);
  std::sort(steps.rbegin(), steps.rend());
  std::vector<std::string> checkpoints;
  for (const int64_t step : steps)
    checkpoints.push_back((fs::path(path) / checkpoint_name(step)).string());
  return checkpoints;
}

}  // namespace isogrid
