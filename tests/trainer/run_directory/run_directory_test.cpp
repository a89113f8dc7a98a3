#include "trainer/run_directory/run_directory.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>
#include <thread>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "tests/trainer/run_directory/small_checkpoint.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

/// Runs `action` in a process of its own; 0 and exit codes are handed back by wait_for().
pid_t in_process(const std::function<int()>& action) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int code = 1;
  try {
    code = action();
  } catch (const Error& error) {
    code = static_cast<int>(error.code());
  }
  ::_exit(code);
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(RunDirectory, CountsAttemptsAndKeepsItsName) {
  const TemporaryDirectory folder;
  std::string run_id;
  for (int64_t attempt = 1; attempt <= 3; ++attempt) {
    const RunDirectory run(folder / "a/b");
    if (attempt == 1) run_id = run.run_id();
    EXPECT_EQ(run.attempt(), attempt);
    EXPECT_EQ(run.run_id(), run_id);
  }
  EXPECT_NE(RunDirectory(folder / "c").run_id(), run_id);
}

TEST(RunDirectory, RefusesASecondStartAndNamesTheFirst) {
  const TemporaryDirectory folder;
  const RunDirectory first(folder / "run");
  const auto before = std::chrono::steady_clock::now();
  expect_refusal([&] { RunDirectory(folder / "run"); }, ExitCode::locked,
                 concat("is in use by process ", ::getpid(), " on host '"));
  expect_refusal([&] { RunDirectory(folder / "run", /*overwrite=*/true); }, ExitCode::locked,
                 first.run_id());
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(1));
}

TEST(RunDirectory, RefusesWithinASecondEvenIfTheOwnerSaysNothing) {
  const TemporaryDirectory folder;
  const RunDirectory first(folder / "run");
  for (const char* text : {"", "{\"pid\": 12", "{\"pid\": 999999999, \"host\": \"x\"}"}) {
    folder.write("run/LOCK", text);
    const auto before = std::chrono::steady_clock::now();
    expect_refusal([&] { RunDirectory(folder / "run"); }, ExitCode::locked, "is in use by");
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(1));
  }
}

TEST(RunDirectory, OpensAfterItsHolderWasKilled) {
  const TemporaryDirectory folder;
  const pid_t child = in_process([&]() -> int {
    const RunDirectory run(folder / "run");
    folder.write("held", "");
    for (;;) ::pause();
  });
  while (!fs::exists(folder / "held")) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  expect_refusal([&] { RunDirectory(folder / "run"); }, ExitCode::locked,
                 concat("process ", child));
  ::kill(child, SIGKILL);
  EXPECT_EQ(wait_for(child), -SIGKILL);
  EXPECT_EQ(RunDirectory(folder / "run").attempt(), 2);
}

TEST(RunDirectory, OneOfTwoStartsWinsAHundredTimes) {
  const TemporaryDirectory folder;
  constexpr int kWon = 42;
  for (int race = 0; race < 100; ++race) {
    const std::string path = folder / std::to_string(race % 50);  // new ones, then known ones
    std::array<int, 2> start{}, end{};
    ASSERT_EQ(::pipe(start.data()) | ::pipe(end.data()), 0);
    const auto contend = [&] {
      char byte = 0;
      ::close(start[1]);
      ::close(end[1]);
      if (::read(start[0], &byte, 1) < 0) return 1;  // until the starter lets go
      const RunDirectory run(path);
      pollfd over{.fd = end[0], .events = POLLIN, .revents = 0};
      ::poll(&over, 1, 5000);  // until the loser has given up
      return kWon;
    };
    const pid_t a = in_process(contend), b = in_process(contend);
    ::close(start[1]);
    int status = 0;
    const pid_t loser = ::waitpid(-1, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(ExitCode::locked)) << "race " << race;
    ::close(end[1]);
    EXPECT_EQ(wait_for(loser == a ? b : a), kWon) << "race " << race;
    ::close(start[0]);
    ::close(end[0]);
  }
}

TEST(RunDirectory, LeavesFoldersOfOthersAlone) {
  const TemporaryDirectory folder;
  const auto refused = [&](const char* name, const char* part) {
    for (const bool overwrite : {false, true})
      expect_refusal([&] { RunDirectory(folder / name, overwrite); }, ExitCode::locked, part);
    EXPECT_FALSE(fs::exists(folder / (std::string(name) + "/LOCK")));
  };
  folder.write("thesis/chapter.tex", "");
  refused("thesis", "is not empty ('chapter.tex')");
  folder.write("peer/checkpoint-10/model.safetensors", "");
  refused("peer", "holds no run");
  folder.write("other/run.json", R"({"program": "another", "format_version": 1})");
  refused("other", "allowed is \"isogrid\"");
  folder.write("newer/run.json", R"({"program": "isogrid", "format_version": 2})");
  refused("newer", "a newer program wrote it");
  folder.write("torn/run.json", "{");
  refused("torn", "run.json");
}

TEST(RunDirectory, BeginsInAnEmptyDiskAndAfterAnInterruptedBeginning) {
  const TemporaryDirectory folder;
  fs::create_directories(folder / "disk/lost+found");
  EXPECT_EQ(RunDirectory(folder / "disk").attempt(), 1);
  folder.write("begun/LOCK", "");
  folder.write("begun/.run.json.tmp-0123456789abcdef", "{");
  EXPECT_EQ(RunDirectory(folder / "begun").attempt(), 1);
  EXPECT_FALSE(fs::exists(folder / "begun/.run.json.tmp-0123456789abcdef"));
}

TEST(RunDirectory, RefusesALinkForItsLock) {
  const TemporaryDirectory folder;
  const std::string precious = folder.write("precious", "keep");
  { RunDirectory(folder / "run"); }
  fs::remove(folder / "run/LOCK");
  fs::create_symlink(precious, folder / "run/LOCK");
  expect_refusal([&] { RunDirectory(folder / "run"); }, ExitCode::locked, "is a link");
  EXPECT_EQ(file_content(precious), "keep");
}

TEST(RunDirectory, RemovesItsOwnLeftoversAndNothingElse) {
  const TemporaryDirectory folder;
  { RunDirectory(folder / "run"); }
  folder.write("run/.tmp-7-0123456789abcdef/model.safetensors", "half");
  folder.write("run/.trash-3-0123456789abcdef/deep/er/file", "old");
  folder.write("run/.tmp-mine/notes", "keep");
  folder.write("run/notes.txt", "keep");
  fs::create_directory_symlink(folder.path(), folder / "run/.trash-4-0123456789abcdef");
  { RunDirectory(folder / "run"); }
  EXPECT_FALSE(fs::exists(folder / "run/.tmp-7-0123456789abcdef"));
  EXPECT_FALSE(fs::exists(folder / "run/.trash-3-0123456789abcdef"));
  EXPECT_FALSE(fs::is_symlink(folder / "run/.trash-4-0123456789abcdef"));
  EXPECT_EQ(file_content(folder / "run/.tmp-mine/notes"), "keep");
  EXPECT_EQ(file_content(folder / "run/notes.txt"), "keep");
}

TEST(RunDirectory, OverwritingBeginsAnewAndSparesForeignNames) {
  const TemporaryDirectory folder;
  std::string earlier;
  {
    OpenRun open(folder / "run");
    earlier = open.run.run_id();
    save_small(open.store, 3);
    folder.write("run/trainer_log.jsonl", "{}\n");
    folder.write("run/runs/events", "x");
    folder.write("run/notes.txt", "keep");
    folder.write("run/checkpoint-best/model", "keep");
  }
  const RunDirectory run(folder / "run", /*overwrite=*/true);
  EXPECT_NE(run.run_id(), earlier);
  EXPECT_EQ(run.attempt(), 1);
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder / "run"))
    left.insert(entry.path().filename().string());
  EXPECT_EQ(left, (std::set<std::string>{"LOCK", "checkpoint-best", "notes.txt", "run.json"}));
}

TEST(RunDirectory, IsToldFromOtherFolders) {
  const TemporaryDirectory folder;
  { RunDirectory(folder / "run"); }
  EXPECT_TRUE(is_run_directory(folder / "run"));
  EXPECT_FALSE(is_run_directory(folder.path().string()));
  EXPECT_FALSE(is_run_directory(folder / "none"));
}

}  // namespace
}  // namespace isogrid
