#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "core/error.h"
#include "tests/core/faulty_io.h"
#include "tests/core/temporary_directory.h"
#include "tests/trainer/run_directory/small_checkpoint.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

using Steps = std::vector<int64_t>;
using Soundness = std::map<int64_t, bool, std::greater<>>;  // newest first

int64_t count_sound(const Soundness& steps) {
  return std::count_if(steps.begin(), steps.end(), [](const auto& step) { return step.second; });
}

/// What no deletion may do, whatever came before it.
void expect_harmless(const Soundness& before, const Soundness& after, const Retention& rule) {
  const int64_t limit = rule.limit.value_or(1 << 30);
  EXPECT_GE(count_sound(after), std::min(limit, count_sound(before)));
  int64_t newer_sound = 0;
  for (const auto& [step, sound] : before) {
    const bool gone = !after.contains(step);
    EXPECT_FALSE(gone && rule.exempt.contains(step)) << step;
    EXPECT_FALSE(gone && newer_sound < limit) << step << " has " << newer_sound << " newer ones";
    newer_sound += sound;
  }
}

Retention random_rule(std::mt19937_64& random, const Soundness& steps) {
  Retention rule;
  if (random() % 8 != 0) rule.limit = 1 + static_cast<int64_t>(random() % 4);
  for (const auto& [step, sound] : steps)
    if (random() % 6 == 0) rule.exempt.insert(step);
  return rule;
}

TEST(Histories, TenThousandOfThemNeverDeleteWhatIsNeeded) {
  std::mt19937_64 random(3);
  for (int history = 0; history < 10'000 && !testing::Test::HasFailure(); ++history) {
    Soundness steps;
    int64_t step = 0;
    for (int event = 0; event < 12; ++event) {
      step += 1 + static_cast<int64_t>(random() % 60);  // 9, 10, 99, 100: numbers, not texts
      steps[step] = random() % 5 != 0;                  // a save that rots sometimes
      if (random() % 6 == 0) steps[static_cast<int64_t>(random() % step)] = false;
      const Retention rule = random_rule(random, steps);
      Steps newest_first;
      for (const auto& [number, sound] : steps) newest_first.push_back(number);
      Steps doomed =
          steps_to_delete(newest_first, rule, [&](int64_t number) { return steps.at(number); });
      EXPECT_TRUE(std::is_sorted(doomed.begin(), doomed.end()));
      if (random() % 4 == 0) doomed.resize(random() % (doomed.size() + 1));  // killed meanwhile
      const Soundness before = steps;
      for (const int64_t number : doomed) steps.erase(number);
      expect_harmless(before, steps, rule);
    }
  }
}

/// The same with real folders, real faults, and objects that die in the middle.
class RealHistory {
 public:
  RealHistory(const std::string& path, uint64_t seed) : path_(path), random_(seed) {
    OpenRun open(path_);
    fs::create_directory(path_ + "/checkpoint-best");
    std::ofstream(path_ + "/checkpoint-007") << "foreign";
  }

  void attempt() {
    const bool dies = random_() % 2 == 0;
    FaultyIo io(dies ? 1 + static_cast<int>(random_() % 120) : 1 << 30, EIO, /*for_good=*/true);
    try {
      OpenRun open(path_, io);
      for (uint64_t saves = 1 + random_() % 3; saves > 0; --saves) save_and_retain(open);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::io);
      EXPECT_TRUE(dies) << error.what();
    }
    if (random_() % 3 == 0) rot();
    EXPECT_TRUE(fs::is_directory(path_ + "/checkpoint-best"));
    EXPECT_EQ(file_content(path_ + "/checkpoint-007"), "foreign");
  }

 private:
  Soundness looked_at() const {
    Soundness steps;
    const OutputDirectory directory(path_);
    const CheckpointStore store(directory, "");
    for (const int64_t step : store.steps())
      steps[step] = check_checkpoint(store.path_of(step)).sound();
    return steps;
  }

  void save_and_retain(OpenRun& open) {
    step_ += 1 + static_cast<int64_t>(random_() % 60);
    save_small(open.store, step_);
    const Soundness before = looked_at();
    EXPECT_TRUE(before.contains(step_) && before.at(step_)) << "an acknowledged step is not there";
    const Retention rule = random_rule(random_, before);
    std::string failure;
    try {
      open.store.retain(rule);
    } catch (const Error& error) {
      failure = error.what();
    }
    expect_harmless(before, looked_at(), rule);
    if (!failure.empty()) fail(ExitCode::io, failure);
  }

  void rot() {
    const Soundness steps = looked_at();
    // One at a time: the damage of two newest in a row is a question to the user.
    if (steps.size() < 2 || count_sound(steps) < static_cast<int64_t>(steps.size())) return;
    const auto victim = std::next(steps.begin(), static_cast<int>(random_() % steps.size()));
    std::ofstream(path_ + "/checkpoint-" + std::to_string(victim->first) + "/trainer_state.json",
                  std::ios::app)
        << "x";
  }

  std::string path_;
  std::mt19937_64 random_;
  int64_t step_ = 0;
};

TEST(Histories, RealOnesNeitherLoseNorTear) {
  const Quiet quiet;
  for (uint64_t seed = 0; seed < 100 && !testing::Test::HasFailure(); ++seed) {
    const TemporaryDirectory folder(memory_directory());
    RealHistory history(folder / "run", seed);
    for (int attempt = 0; attempt < 6; ++attempt) history.attempt();
  }
}

}  // namespace
}  // namespace isogrid
