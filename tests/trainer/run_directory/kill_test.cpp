#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <optional>
#include <random>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "tests/core/temporary_directory.h"
#include "tests/trainer/run_directory/small_checkpoint.h"

namespace isogrid {
namespace {

/// The control: deletes checkpoints where they are, as if nobody had thought of trash.
class DeletesInPlace : public IoCalls {
 public:
  int rename_no_replace(int directory, const char* from, const char* to) override {
    if (std::string_view(to).starts_with(".trash-")) {
      original_[to] = from;
      return 0;
    }
    return IoCalls::rename_no_replace(directory, from, to);
  }
  int open(int directory, const char* name, int flags, mode_t mode) override {
    return IoCalls::open(directory, original(name), flags, mode);
  }
  int unlink(int directory, const char* name, int flags) override {
    return IoCalls::unlink(directory, original(name), flags);
  }

 private:
  const char* original(const char* name) const {
    const auto found = original_.find(name);
    return found == original_.end() ? name : found->second.c_str();
  }
  std::map<std::string, std::string> original_;
};

/// Saves step after step, keeps two, and tells each step that is safe down `pipe`, until killed.
[[noreturn]] void save_for_ever(const std::string& path, IoCalls& io, int pipe) {
  try {
    OpenRun open(path, io);
    const auto newest = open.store.newest();
    for (int64_t step = newest ? newest->facts.step + 1 : 1;; ++step) {
      save_small(open.store, step);
      if (::write(pipe, &step, sizeof step) != sizeof step) ::_exit(1);
      open.store.retain({.limit = 2});
    }
  } catch (const std::exception&) {
    ::_exit(2);
  }
}

struct Tally {
  int64_t saved = 0;
  int torn = 0;  // kills after which a folder with a checkpoint's name is none
  int lost = 0;  // kills after which a safe step is gone
};

/// The last number that came before the writer's end.
int64_t last_told(int pipe, int64_t before) {
  int64_t step = before, told = 0;
  while (::read(pipe, &told, sizeof told) == sizeof told) step = told;
  return step;
}

Tally kill_again_and_again(IoCalls& io, int kills, uint64_t seed) {
  const Quiet quiet;
  const TemporaryDirectory folder(memory_directory());
  const std::string path = folder / "run";
  std::mt19937_64 random(seed);
  Tally tally;
  for (int i = 0; i < kills; ++i) {
    std::array<int, 2> pipe{};
    if (::pipe(pipe.data()) != 0) break;
    const pid_t child = ::fork();
    if (child == 0) save_for_ever(path, io, pipe[1]);
    ::close(pipe[1]);
    pollfd first{.fd = pipe[0], .events = POLLIN, .revents = 0};
    if (i % 4 != 0) ::poll(&first, 1, 2000);  // else also while it starts
    ::usleep(static_cast<useconds_t>(random() % 4000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    tally.saved = last_told(pipe[0], tally.saved);
    ::close(pipe[0]);
    if (tally.saved == 0 && !is_run_directory(path)) continue;  // killed before it began
    const OutputDirectory directory(path);
    const CheckpointStore store(directory, "");
    bool torn = false, kept = tally.saved == 0;
    for (const int64_t step : store.steps()) {
      const bool sound = check_checkpoint(store.path_of(step)).sound();
      torn |= !sound;
      kept |= sound && step >= tally.saved;
    }
    tally.torn += torn;
    tally.lost += !kept;
    if (torn) std::filesystem::remove_all(path);
    if (torn) tally.saved = 0;
  }
  return tally;
}

TEST(Kill, AHundredTimesTearsAndLosesNothing) {
  const Tally tally = kill_again_and_again(IoCalls::system(), 100, /*seed=*/5);
  EXPECT_EQ(tally.torn, 0);
  EXPECT_EQ(tally.lost, 0);
  EXPECT_GT(tally.saved, 20);
}

TEST(Kill, IsSeenToTearWhereDeletionIsInPlace) {
  DeletesInPlace io;
  int torn = 0;
  for (uint64_t seed = 0; torn == 0 && seed < 20; ++seed)
    torn = kill_again_and_again(io, 50, seed).torn;
  EXPECT_GT(torn, 0);
}

}  // namespace
}  // namespace isogrid
