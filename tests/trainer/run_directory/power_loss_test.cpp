#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "core/error.h"
#include "core/manifest.h"
#include "tests/core/temporary_directory.h"
#include "tests/trainer/run_directory/crash_states.h"
#include "tests/trainer/run_directory/small_checkpoint.h"
#include "trainer/run_directory/names.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

using Kind = Operation::Kind;
using Log = std::vector<Operation>;

constexpr size_t kStatesPerMoment = 96;

/// Two attempts of one run that keep two checkpoints, and a new run in their place.
Log recorded_history() {
  const TemporaryDirectory folder(memory_directory());
  RecordedIo io(folder.path().string());
  const auto save = [&](OpenRun& open, int64_t step) {
    save_small(open.store, step);
    io.acknowledge(step);
    open.store.retain({.limit = 2});
  };
  {
    OpenRun open(folder.path().string(), io);
    for (const int64_t step : {1, 2, 3}) save(open, step);
    open.run.directory().make(".tmp-4-0123456789abcdef");  // as if killed here
  }
  {
    OpenRun open(folder.path().string(), io);
    for (const int64_t step : {4, 10}) save(open, step);
  }
  io.acknowledge(-1);
  RunDirectory run(folder.path().string(), /*overwrite=*/true, io);
  CheckpointStore store(run.directory(), run.run_id());
  save_small(store, 1);
  io.acknowledge(1);
  return io.log();
}

struct Verdict {
  size_t states = 0;
  size_t lost = 0;     // a promised step is not there, or the run cannot go on
  size_t corrupt = 0;  // a folder with a checkpoint's name is not a checkpoint
  bool good() const { return lost + corrupt == 0; }
};

void put_on_disk(const CrashState& state, const fs::path& root) {
  for (const auto& [path, content] : state.files)
    if (path.back() == '/')
      fs::create_directory(root / path);
    else
      std::ofstream(root / path, std::ios::binary) << content;
}

void judge(const CrashState& state, Verdict& verdict) {
  const TemporaryDirectory folder(memory_directory());
  put_on_disk(state, folder.path());
  const size_t number = verdict.states++;
  try {
    OpenRun open(folder.path().string());
    const auto steps = open.store.steps();
    verdict.corrupt += std::any_of(steps.begin(), steps.end(), [&](int64_t step) {
      return !check_checkpoint(open.store.path_of(step)).sound();
    });
    const auto newest = open.store.newest();
    verdict.lost += (newest ? newest->facts.step : -1) < state.acknowledged;
    if (number % 16 == 0) save_small(open.store, 11);  // and it goes on
  } catch (const Error&) {
    ++verdict.lost;
  }
}

/// Up to the first bad state.
Verdict judge_all(const Log& log) {
  Verdict verdict;
  for_each_crash_state(log, kStatesPerMoment, /*seed=*/1, [&](const CrashState& state) {
    judge(state, verdict);
    return verdict.good();
  });
  return verdict;
}

TEST(PowerLoss, LosesNoPromisedStepAndShowsNoTornOne) {
  const Quiet quiet;
  const Verdict verdict = judge_all(recorded_history());
  EXPECT_GE(verdict.states, 2000u);
  EXPECT_EQ(verdict.lost, 0u) << "in state " << verdict.states;
  EXPECT_EQ(verdict.corrupt, 0u) << "in state " << verdict.states;
  RecordProperty("states", static_cast<int>(verdict.states));
}

bool is_trashing(const Operation& operation) {
  return operation.kind == Kind::rename && operation.to.starts_with(".trash-");
}
bool is_commit(const Operation& operation) {
  return operation.kind == Kind::rename && checkpoint_step(operation.to).has_value();
}
bool is_root_sync(const Operation& operation) {
  return operation.kind == Kind::sync && operation.node == RecordedIo::kRoot;
}

/// Which of the nodes are folders, or files first named `name`.
std::vector<int> made_as(const Log& log, const std::function<bool(const Operation&)>& matches) {
  std::vector<int> nodes;
  for (const Operation& operation : log)
    if (operation.kind == Kind::make && matches(operation)) nodes.push_back(operation.node);
  return nodes;
}

void drop_syncs_of(Log& log, const std::vector<int>& nodes) {
  std::erase_if(log, [&](const Operation& operation) {
    return operation.kind == Kind::sync &&
           std::find(nodes.begin(), nodes.end(), operation.node) != nodes.end();
  });
}

void files_are_not_synced(Log& log) {
  drop_syncs_of(log, made_as(log, [](const Operation& made) { return !made.is_folder; }));
}
void the_manifest_is_not_synced(Log& log) {
  drop_syncs_of(log,
                made_as(log, [](const Operation& made) { return made.name == kManifestName; }));
}
void the_run_file_is_not_synced(Log& log) {
  drop_syncs_of(log, made_as(log, [](const Operation& made) {
                  return made.name.starts_with(".run.json.tmp-");
                }));
}
void the_temporary_folder_is_not_synced(Log& log) {
  drop_syncs_of(log, made_as(log, [](const Operation& made) { return made.is_folder; }));
}
void the_promise_comes_before_the_parents_sync(Log& log) {
  for (size_t i = 1; i < log.size(); ++i)
    if (log[i].kind == Kind::acknowledge && is_root_sync(log[i - 1])) std::swap(log[i], log[i - 1]);
}
void the_parent_is_not_synced_before_unlinking(Log& log) {
  for (size_t i = 1; i < log.size(); ++i)
    if (is_root_sync(log[i]) && is_trashing(log[i - 1]))
      log.erase(log.begin() + static_cast<std::ptrdiff_t>(i--));
}
void deletion_is_in_place(Log& log) {
  // Unlinks go by node; only the last one, of the folder itself, needs the old name again.
  std::map<std::string, std::string> original;
  for (const Operation& operation : log)
    if (is_trashing(operation)) original[operation.to] = operation.name;
  for (Operation& operation : log)
    if (operation.kind == Kind::unlink && original.contains(operation.name))
      operation.name = original[operation.name];
  std::erase_if(log, is_trashing);
}
void there_is_no_temporary_folder(Log& log) {
  std::map<std::string, std::string> last_name;
  for (const Operation& operation : log)
    if (is_commit(operation)) last_name[operation.name] = operation.to;
  for (Operation& operation : log)
    if (operation.kind == Kind::make && last_name.contains(operation.name))
      operation.name = last_name[operation.name];
  std::erase_if(log, is_commit);
}

struct MissingStep {
  const char* name;
  void (*take_out)(Log&);
};

class PowerLossControl : public testing::TestWithParam<MissingStep> {};

// The enumerator is worth something only if it sees every step of the protocol that is left out.
TEST_P(PowerLossControl, IsReported) {
  const Quiet quiet;
  Log log = recorded_history();
  const size_t before = log.size();
  GetParam().take_out(log);
  const Verdict verdict = judge_all(log);
  EXPECT_GT(verdict.lost + verdict.corrupt, 0u)
      << "of " << verdict.states << " states, " << before << " and " << log.size() << " operations";
}

INSTANTIATE_TEST_SUITE_P(
    Without, PowerLossControl,
    testing::Values(
        MissingStep{"SyncOfFiles", files_are_not_synced},
        MissingStep{"SyncOfTheManifest", the_manifest_is_not_synced},
        MissingStep{"SyncOfTheRunFile", the_run_file_is_not_synced},
        MissingStep{"SyncOfTheTemporaryFolder", the_temporary_folder_is_not_synced},
        MissingStep{"SyncOfTheParentBeforeThePromise", the_promise_comes_before_the_parents_sync},
        MissingStep{"SyncOfTheParentBeforeUnlinking", the_parent_is_not_synced_before_unlinking},
        MissingStep{"RenamingToTrash", deletion_is_in_place},
        MissingStep{"TheTemporaryFolder", there_is_no_temporary_folder}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace isogrid
