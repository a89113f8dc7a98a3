#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "core/json.h"
#include "core/log.h"
#include "tests/core/faulty_io.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "trainer/records/run_log.h"

namespace isogrid {
namespace {

constexpr int64_t kTotal = 20;

StepRecord record_of(int64_t step) {
  StepRecord record;
  record.step = step;
  record.total_steps = kTotal;
  record.epoch = static_cast<double>(step) / 10;
  record.loss_float32 = 3.0f / static_cast<float>(step);
  record.loss = record.loss_float32;
  record.grad_norm = 0.5;
  record.learning_rate = 2e-4;
  record.tokens = 100 * step;
  record.tokens_per_second = 50;
  record.seconds = 2.0 * static_cast<double>(step);
  const std::array<uint64_t, 2> ids = {static_cast<uint64_t>(step), 7};
  record.order_hash = order_hash(ids);
  return record;
}

EvalRecord evaluation_of(int64_t step) {
  return {.step = step, .total_steps = kTotal, .loss = 1.5, .perplexity = std::exp(1.5)};
}

std::vector<std::string> lines_of(const std::string& path) {
  std::istringstream text(file_content(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::vector<Json> objects_in(const std::string& path) {
  std::vector<Json> objects;
  for (const std::string& line : lines_of(path)) objects.push_back(parse_json(line, path));
  return objects;
}

void train(const TemporaryDirectory& folder, int64_t from, int64_t to) {
  RunLog log({.output_dir = folder.path(), .resume_step = from});
  for (int64_t step = from + 1; step <= to; ++step) log.step(record_of(step));
  log.make_durable();
}

std::vector<int64_t> logged_steps(const TemporaryDirectory& folder) {
  std::vector<int64_t> steps;
  for (const Json& row : objects_in(folder / kTrainerLogName))
    steps.push_back(row["current_steps"]);
  return steps;
}

TEST(RunLog, WritesOneObjectForEachStep) {
  const TemporaryDirectory folder(memory_directory());
  train(folder, 0, 3);
  const std::vector<Json> rows = objects_in(folder / kTrainerLogName);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2].dump(),
            R"({"current_steps":3,"total_steps":20,"loss":1.0,"loss_bits":"3f800000",)"
            R"("grad_norm":0.5,"lr":0.0002,"epoch":0.3,"percentage":15.0,)"
            R"("elapsed_time":"0:00:06","remaining_time":"0:00:34","elapsed_seconds":6.0,)"
            R"("attempt":1,"tokens":300,"tokens_per_second":50.0,"order":")" +
                hex_text(record_of(3).order_hash, 16) + "\"}");
  EXPECT_EQ(
      lines_of(folder / kTrainingCsvName),
      (std::vector<std::string>{"step,train_loss,eval_loss,lr,elapsed_sec", "1,3,,0.0002,2.000",
                                "2,1.5,,0.0002,4.000", "3,1,,0.0002,6.000"}));
}

TEST(RunLog, WritesEvaluationsAsRowsOfTheirOwn) {
  const TemporaryDirectory folder(memory_directory());
  RunLog log({.output_dir = folder.path()});
  log.evaluation(evaluation_of(0));
  log.step(record_of(1));
  log.evaluation(evaluation_of(1));
  log.evaluation(evaluation_of(1));
  const std::vector<Json> rows = objects_in(folder / kTrainerLogName);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2]["eval_loss"], 1.5);
  EXPECT_EQ(rows[2]["eval_perplexity"], std::exp(1.5));
  EXPECT_EQ(lines_of(folder / kTrainingCsvName).back(), "1,,1.5,,0.000");
}

TEST(RunLog, KeepsTheBitsOfWhatIsNotFinite) {
  const TemporaryDirectory folder(memory_directory());
  RunLog log({.output_dir = folder.path()});
  StepRecord record = record_of(1);
  record.loss_float32 = std::numeric_limits<float>::infinity();
  record.loss = record.loss_float32;
  record.skipped = true;
  log.step(record);
  const Json row = objects_in(folder / kTrainerLogName).front();
  EXPECT_TRUE(row["loss"].is_null());
  EXPECT_EQ(row["loss_bits"], "7f800000");
  EXPECT_EQ(row["skipped"], true);
}

TEST(RunLog, TakesLaterRowsOutWhenARunGoesOnFromACheckpoint) {
  const TemporaryDirectory folder(memory_directory());
  train(folder, 0, 8);
  train(folder, 5, 7);
  EXPECT_EQ(logged_steps(folder), (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7}));
  const std::vector<Json> rows = objects_in(folder / kTrainerLogName);
  EXPECT_EQ(rows[4]["attempt"], 1);
  EXPECT_EQ(rows[5]["attempt"], 2);
  EXPECT_EQ(lines_of(folder / kTrainingCsvName).size(), 8u);
}

TEST(RunLog, GoesOnCountingTheSecondsOfEarlierAttempts) {
  const TemporaryDirectory folder(memory_directory());
  train(folder, 0, 5);  // 10 s
  RunLog log({.output_dir = folder.path(), .resume_step = 5});
  StepRecord record = record_of(6);
  record.seconds = 3;
  log.step(record);
  const Json row = objects_in(folder / kTrainerLogName).back();
  EXPECT_EQ(row["elapsed_seconds"], 13.0);
  EXPECT_EQ(row["remaining_time"], "0:00:42");  // 14 steps of 3 s
}

TEST(RunLog, DropsATornLastLine) {
  const TemporaryDirectory folder(memory_directory());
  train(folder, 0, 3);
  const std::string whole = file_content(folder / kTrainerLogName);
  const std::string events = file_content(folder / kEventsName);
  folder.write(kTrainerLogName, whole + whole.substr(0, 40));
  folder.write(kEventsName, events + "{\"event\": \"st");
  train(folder, 3, 4);
  EXPECT_EQ(logged_steps(folder), (std::vector<int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(objects_in(folder / kEventsName).back()["attempt"], 2);
}

TEST(RunLog, StartsAfreshWhereNoCheckpointWasReached) {
  const TemporaryDirectory folder(memory_directory());
  train(folder, 0, 3);
  train(folder, 0, 2);
  train(folder, 0, 1);
  EXPECT_EQ(logged_steps(folder), (std::vector<int64_t>{1}));
  EXPECT_EQ(objects_in(folder / kEventsName).back()["attempt"], 3);
}

TEST(RunLog, ReportsARepeatedStepWithOtherBits) {
  const TemporaryDirectory folder(memory_directory());
  train(folder, 0, 6);
  RunLog log({.output_dir = folder.path(), .resume_step = 3});
  log.step(record_of(4));
  EXPECT_EQ(log.repeated_steps_that_differ(), 0);
  StepRecord other = record_of(5);
  other.loss_float32 = std::nextafter(other.loss_float32, 9.0f);
  testing::internal::CaptureStderr();
  log.step(other);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("step 5 was computed before, in attempt 1"),
            std::string::npos);
  StepRecord reordered = record_of(6);
  reordered.order_hash ^= 1;
  log.step(reordered);
  EXPECT_EQ(log.repeated_steps_that_differ(), 2);
  const std::vector<Json> events = objects_in(folder / kEventsName);
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[2]["event"], "repeated_step_differs");
  EXPECT_EQ(events[2]["step"], 5);
  EXPECT_EQ(events[2]["differences"].dump(),
            R"({"loss_bits":{"before":"3f19999a","now":"3f19999b"}})");
  EXPECT_TRUE(events[3]["differences"].contains("order"));
}

TEST(RunLog, RefusesToWriteAStepTwice) {
  const TemporaryDirectory folder(memory_directory());
  RunLog log({.output_dir = folder.path(), .resume_step = 4});
  expect_refusal([&] { log.step(record_of(4)); }, ExitCode::internal, "step 4 after step 4");
}

TEST(RunLog, AppendsEventsOfOthers) {
  const TemporaryDirectory folder(memory_directory());
  RunLog log({.output_dir = folder.path()});
  log.event("non_finite", 4, {{"tensor", "layers.3.down"}});
  const Json event = objects_in(folder / kEventsName).back();
  EXPECT_EQ(event["event"], "non_finite");
  EXPECT_EQ(event["tensor"], "layers.3.down");
  EXPECT_EQ(event["step"], 4);
}

/// Steps 1 to 5, of which 3 are checkpointed; then a start from there in which call `at` fails.
void expect_no_harm(int at, int error, bool for_good, bool* fired) {
  const TemporaryDirectory folder(memory_directory());
  train(folder, 0, 5);
  folder.write(kTrainerLogName, file_content(folder / kTrainerLogName) + "{\"torn");
  FaultyIo io(at, error, for_good);
  int64_t durable = 3;
  try {
    RunLog log({.output_dir = folder.path(), .resume_step = 3}, io);
    for (int64_t step = 4; step <= 7; ++step) {
      log.step(record_of(step));
      if (step == 6) {
        log.make_durable();
        durable = 6;
      }
    }
  } catch (const Error& failure) {
    EXPECT_EQ(failure.code(), ExitCode::io) << failure.what();
    EXPECT_NE(std::string(failure.what()).find(folder.path().string()), std::string::npos);
  }
  *fired = io.fired();
  train(folder, durable, 9);
  const std::vector<int64_t> steps = logged_steps(folder);
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9})) << "call " << at;
  EXPECT_EQ(lines_of(folder / kTrainingCsvName).size(), 10u) << "call " << at;
}

TEST(RunLog, SurvivesTheFailureOfAnyCall) {
  struct Fault {
    int error;
    bool for_good;
    int least_calls;
  };
  for (const auto& [error, for_good, least_calls] :
       {Fault{ENOSPC, false, 40}, Fault{EIO, true, 40}, Fault{FaultyIo::kShortWrite, false, 10}}) {
    int at = 1;
    for (bool fired = true; fired && at < 200; ++at) {
      expect_no_harm(at, error, for_good, &fired);
      if (HasFailure()) FAIL() << "errno " << error << (for_good ? " for good" : " once");
    }
    EXPECT_GT(at, least_calls);
    EXPECT_LT(at, 200);
  }
}

TEST(RunLog, LosesNoRowToACallerWhoWaitsForSpace) {
  for (int at = 1; at < 60; ++at) {
    const TemporaryDirectory run(memory_directory());
    FaultyIo io(at, ENOSPC, /*for_good=*/false);
    std::unique_ptr<RunLog> log;
    try {
      log = std::make_unique<RunLog>(RunLogSettings{.output_dir = run.path()}, io);
    } catch (const Error&) {
      continue;  // nothing had begun
    }
    for (int64_t step = 1; step <= 3; ++step) {
      try {
        log->step(record_of(step));
      } catch (const Error&) {
        continue;  // said again by the next call
      }
    }
    try {
      log->event("end", 3, Json::object());
    } catch (const Error&) {
      log->make_durable();
    }
    EXPECT_EQ(logged_steps(run), (std::vector<int64_t>{1, 2, 3})) << at;
    EXPECT_EQ(lines_of(run / kTrainingCsvName).size(), 4u) << at;
  }
}

}  // namespace
}  // namespace isogrid
