#include <gtest/gtest.h>

#include <functional>

#include "core/error.h"
#include "tests/core/faulty_io.h"
#include "tests/core/temporary_directory.h"
#include "tests/trainer/run_directory/small_checkpoint.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

void damage(const std::string& path) { std::ofstream(path, std::ios::app) << "x"; }

/// What a run does between two starts, and what must be there whatever goes wrong meanwhile.
struct Scenario {
  const char* name;
  void (*prepare)(const std::string& path);
  void (*act)(const std::string& path, IoCalls& io);
  int64_t safe;   // a step that may not be lost
  int64_t saved;  // the newest if nothing went wrong
};

void prepare_two(const std::string& path) {
  OpenRun open(path);
  for (const int64_t step : {1, 2}) save_small(open.store, step);
}

void prepare_damaged_third(const std::string& path) {
  prepare_two(path);
  OpenRun open(path);
  save_small(open.store, 3);
  damage(path + "/checkpoint-3/trainer_state.json");
}

void save_third(const std::string& path, IoCalls& io) {
  OpenRun open(path, io);
  save_small(open.store, 3);
  open.store.retain({.limit = 2});
}

void begin_anew(const std::string& path, IoCalls& io) {
  RunDirectory run(path, /*overwrite=*/true, io);
  CheckpointStore store(run.directory(), run.run_id());
  save_small(store, 1);
}

constexpr Scenario kScenarios[] = {
    {"Save", prepare_two, save_third, 2, 3},
    {"SaveOverDamage", prepare_damaged_third, save_third, 2, 3},
    {"BeginAnew", prepare_two, begin_anew, -1, 1},
};

class RunFaults : public testing::TestWithParam<std::tuple<Scenario, Fault>> {
 protected:
  /// Did it fail? Then as it should.
  bool failed(const Scenario& scenario, const std::string& path, IoCalls& io) {
    try {
      scenario.act(path, io);
      return false;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::io) << error.what();
      const std::string text = error.what();
      EXPECT_NE(text.find(path), std::string::npos) << text;
      EXPECT_NE(text.find(" free"), std::string::npos) << text;
      return true;
    }
  }

  void expect_whole(const Scenario& scenario, const std::string& path, bool complete) {
    OpenRun open(path);
    for (const int64_t step : open.store.steps()) {
      const CheckpointCheck check = check_checkpoint(open.store.path_of(step));
      // The damage that was there before is still there, or its step was saved again.
      const bool known = scenario.prepare == prepare_damaged_third && step == 3 && !complete;
      EXPECT_TRUE(check.sound() || known) << check.problems_text();
    }
    const auto newest = open.store.newest();
    EXPECT_GE(newest ? newest->facts.step : -1, complete ? scenario.saved : scenario.safe);
    save_small(open.store, 4);  // and the next run works
    EXPECT_EQ(open.store.newest()->facts.step, 4);
  }

  Quiet quiet_;
};

TEST_P(RunFaults, AtAnyCallLoseNothing) {
  const auto& [scenario, fault] = GetParam();
  int points = 0, failures = 0;
  for (int at = 1; !HasFailure(); ++at) {
    const TemporaryDirectory folder(memory_directory());
    const std::string path = folder / "run";
    scenario.prepare(path);
    FaultyIo io(at, fault.error, fault.for_good);
    const bool bad = failed(scenario, path, io);
    expect_whole(scenario, path, !bad);
    EXPECT_FALSE(bad && fault.is_harmless());
    failures += bad;
    if (!io.fired()) break;
    points = at;
  }
  EXPECT_GE(points, fault.error == FaultyIo::kShortWrite ? 5 : 40);
  if (!fault.is_harmless()) {
    EXPECT_GT(failures, points / 2) << points;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Io, RunFaults, testing::Combine(testing::ValuesIn(kScenarios), testing::ValuesIn(kFaults)),
    [](const auto& row) {
      return std::string(std::get<0>(row.param).name) + std::get<1>(row.param).name;
    });

}  // namespace
}  // namespace isogrid
