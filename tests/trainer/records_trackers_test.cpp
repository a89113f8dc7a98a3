#include "trainer/records/trackers.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/json.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

/// Stands in for Python: the trainer starts it as `<path> -c <script>`.
class FakePython {
 public:
  explicit FakePython(const std::string& commands) {
    const std::string path = folder_.write("python", "#!/bin/sh\n" + commands + "\n");
    chmod(path.c_str(), 0755);
    setenv("ISOGRID_PYTHON", path.c_str(), 1);
  }
  FakePython(const FakePython&) = delete;
  FakePython& operator=(const FakePython&) = delete;
  ~FakePython() { unsetenv("ISOGRID_PYTHON"); }

  std::string folder() const { return folder_.path(); }
  std::string heard() const { return file_content(folder_ / "heard"); }

 private:
  TemporaryDirectory folder_;
};

TrackingConfig wandb() {
  TrackingConfig settings;
  settings.report_to = {"wandb"};
  settings.project = "p";
  return settings;
}

StepRecord tracked_step(int64_t step) {
  StepRecord record;
  record.step = step;
  record.loss = 0.5;
  record.grad_norm = std::numeric_limits<double>::infinity();
  return record;
}

TEST(TrackersIn, AreThoseOutsideTheProgram) {
  EXPECT_TRUE(trackers_in({}).empty());
  EXPECT_TRUE(trackers_in({"none", "tensorboard"}).empty());
  EXPECT_EQ(trackers_in({"tensorboard", "mlflow"}), (std::vector<std::string>{"mlflow"}));
  EXPECT_EQ(trackers_in({"all"}), (std::vector<std::string>{"wandb", "trackio", "mlflow"}));
}

TEST(Trackers, StartNothingWhenNothingIsAskedFor) {
  setenv("ISOGRID_PYTHON", "/nowhere/python", 1);
  Trackers trackers(TrackingConfig(), {.output_dir = "/nowhere", .run_id = "", .default_name = ""});
  trackers.step(tracked_step(1));
  trackers.finish(true);
  unsetenv("ISOGRID_PYTHON");
}

TEST(Trackers, GetSettingsFiguresAndTheEnd) {
  const FakePython python(
      R"(exec 3>&0; read line; echo "$line" >> "${0%/*}/heard"; echo '{"ready": true}' >&3
while read line; do echo "$line" >> "${0%/*}/heard"; done; echo '{"finished": true}' >&3)");
  Json config = {{"learning_rate", 1e-4}, {"hf_hub_token", "planted"}};
  {
    Trackers trackers(wandb(), {python.folder(), "id7", "name", &config});
    trackers.step(tracked_step(1));
    trackers.evaluation({.step = 1, .loss = 2});
    trackers.finish(true, 0.5);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::istringstream lines(python.heard());
  std::vector<Json> messages;
  for (std::string line; std::getline(lines, line);) messages.push_back(parse_json(line, "heard"));
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0]["trackers"].dump(), R"(["wandb"])");
  EXPECT_EQ(messages[0]["run_id"], "id7");
  EXPECT_EQ(messages[0]["run_name"], "name");
  EXPECT_EQ(messages[0]["config"].dump(), R"({"learning_rate":0.0001})");
  EXPECT_EQ(messages[1]["values"]["train/loss"], 0.5);
  EXPECT_FALSE(messages[1]["values"].contains("train/grad_norm"));
  EXPECT_EQ(messages[2]["values"]["eval/loss"], 2.0);
  EXPECT_EQ(messages[3].dump(), R"({"do":"finish","ok":true})");
}

TEST(Trackers, WithoutPythonAreRefusedBeforeTraining) {
  const TemporaryDirectory folder;
  setenv("ISOGRID_PYTHON", "/nowhere/python", 1);
  const TrackerRun run{folder.path(), "id", "name"};
  expect_refusal([&] { const Trackers trackers(wandb(), run); }, ExitCode::configuration,
                 "wandb needs Python, and '/nowhere/python' cannot be started");
  unsetenv("ISOGRID_PYTHON");
}

TEST(Trackers, WithoutTheirPackageAreRefusedBeforeTraining) {
  const FakePython python(
      R"(read line; echo '{"missing": ["wandb"], "python": "/usr/bin/python3"}' >&0)");
  const TrackerRun run{python.folder(), "id", "name"};
  expect_refusal([&] { const Trackers trackers(wandb(), run); }, ExitCode::configuration,
                 "the Python package wandb is not installed for /usr/bin/python3; install it");
}

TEST(Trackers, ThatRefuseToStartAreTold) {
  const FakePython python(R"(read line; echo '{"failed": "wandb", "why": "not logged in"}' >&0)");
  const TrackerRun run{python.folder(), "id", "name"};
  expect_refusal([&] { const Trackers trackers(wandb(), run); }, ExitCode::configuration,
                 "report_to: wandb: not logged in");
}

TEST(Trackers, ThatDieAreToldOnceAndTrainingGoesOn) {
  const FakePython python(R"(read line; echo '{"ready": true}' >&0; exit 3)");
  Trackers trackers(wandb(), {python.folder(), "id", "name"});
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  testing::internal::CaptureStderr();
  for (int64_t step = 1; step <= 100; ++step) trackers.step(tracked_step(step));
  trackers.finish(true);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("the process of the trackers ended"), std::string::npos);
  EXPECT_EQ(said.find("warning"), said.rfind("warning"));
}

TEST(Trackers, ThatTakeNothingDoNotHoldUpTraining) {
  const FakePython python(R"(read line; echo '{"ready": true}' >&0; exec sleep 5)");
  Trackers trackers(wandb(), {python.folder(), "id", "name"});
  testing::internal::CaptureStderr();
  const auto start = std::chrono::steady_clock::now();
  for (int64_t step = 1; step <= 40'000; ++step) trackers.step(tracked_step(step));
  trackers.finish(true, 0.1);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_LT(taken.count(), 4.0);
  EXPECT_NE(said.find("take nothing"), std::string::npos);
}

TEST(WithoutCredentials, KeepsTokensThatAreWords) {
  const Json kept = without_credentials(
      {{"add_tokens", "a"}, {"skip_special_tokens", true}, {"hub_token", "x"}, {"api_key", "y"}});
  EXPECT_EQ(kept.dump(), R"({"add_tokens":"a","skip_special_tokens":true})");
}

}  // namespace
}  // namespace isogrid
