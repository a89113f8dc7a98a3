#include <gtest/gtest.h>

#include <cstdlib>

#include "core/json.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "trainer/records/results.h"
#include "trainer/records/run_diff.h"
#include "trainer/records/run_facts.h"
#include "trainer/records/run_log.h"

namespace isogrid {
namespace {

TEST(EnvironmentJson, HoldsNoSecret) {
  const char* planted = "hf_Qm9JwT0kenThatMustNeverAppear";
  for (const char* name : {"HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
                           "OMP_NUM_THREADS_TOKEN", "MY_PASSWORD"})
    setenv(name, planted, 1);
  setenv("OMP_NUM_THREADS", "2", 1);
  setenv("NCCL_DEBUG", planted, 1);  // where it does not belong
  const Json json = environment_json({.run_id = "abc", .libtorch = "2.11.0"});
  EXPECT_EQ(json.dump().find("hf_Qm9"), std::string::npos);
  EXPECT_EQ(json["variables"]["OMP_NUM_THREADS"], "2");
  EXPECT_EQ(json["variables"]["NCCL_DEBUG"], "(withheld)");
  EXPECT_FALSE(json["variables"].contains("HF_TOKEN"));
  for (const char* name : {"HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
                           "OMP_NUM_THREADS_TOKEN", "MY_PASSWORD", "OMP_NUM_THREADS", "NCCL_DEBUG"})
    unsetenv(name);
}

TEST(EnvironmentJson, SaysWhatItRanOn) {
  const Json json = environment_json({.libtorch = "2.11.0", .threads = {{"compute", 2}}});
  EXPECT_EQ(json["libtorch"], "2.11.0");
  EXPECT_EQ(json["threads"]["compute"], 2);
  EXPECT_TRUE(json["cuda"].is_null());
  EXPECT_NE(json["machine"]["libc"].get<std::string>().find("glibc"), std::string::npos);
  EXPECT_FALSE(json["machine"]["processor"].get<std::string>().empty());
  EXPECT_GT(json["machine"]["memory_bytes"], 1 << 20);
  EXPECT_FALSE(json["trainer"].get<std::string>().empty());
}

TEST(Results, HaveTheNamesOfTransformers) {
  const TemporaryDirectory folder(memory_directory());
  RunResults results{.epoch = 3, .steps = 114, .total_steps = 114, .train_loss = 1.25};
  results.train_seconds = 57;
  results.train_samples = 450;
  results.tokens = 12000;
  results.eval =
      EvalResults{.loss = 1.5, .perplexity = 4.48, .samples = 10, .batches = 5, .seconds = 2};
  results.best_checkpoint = "checkpoint-100";
  results.best_step = 100;
  results.best_metric = 1.4;
  write_results(folder.path(), results);
  const Json all = read_json_file(folder / "all_results.json");
  EXPECT_EQ(all.dump(),
            R"({"epoch":3.0,"eval_loss":1.5,"eval_runtime":2.0,"eval_samples":10,)"
            R"("eval_samples_per_second":5.0,"eval_steps_per_second":2.5,"perplexity":4.48,)"
            R"("train_loss":1.25,"train_runtime":57.0,"train_samples":450,)"
            R"("train_samples_per_second":7.895,"train_steps_per_second":2.0,"train_tokens":12000,)"
            R"("train_tokens_per_second":210.526,"global_step":114,"best_global_step":100,)"
            R"("best_metric":1.4,"best_model_checkpoint":"checkpoint-100"})");
  EXPECT_EQ(read_json_file(folder / "train_results.json")["train_loss"], 1.25);
  EXPECT_EQ(read_json_file(folder / "eval_results.json")["perplexity"], 4.48);
}

TEST(TrainerState, RepeatsTheLogAsHistory) {
  const TemporaryDirectory folder(memory_directory());
  const std::vector<LogRow> rows = {{.step = 1, .epoch = 0.5, .loss = 2, .learning_rate = 1e-4},
                                    {.is_eval = true, .step = 1, .epoch = 0.5, .loss = 1.5}};
  write_trainer_state(folder.path(), {.epoch = 1, .steps = 2, .total_steps = 2, .train_loss = 1.75},
                      {.logging_steps = 1}, rows);
  const Json state = read_json_file(folder / "trainer_state.json");
  EXPECT_EQ(state["global_step"], 2);
  ASSERT_EQ(state["log_history"].size(), 3u);
  EXPECT_EQ(state["log_history"][0]["loss"], 2.0);
  EXPECT_EQ(state["log_history"][1]["eval_loss"], 1.5);
  EXPECT_EQ(state["log_history"][2]["train_loss"], 1.75);
  EXPECT_TRUE(state["best_model_checkpoint"].is_null());
}

TEST(ReadTrainingLog, ReadsCsvFilesOfOtherPrograms) {
  const TemporaryDirectory folder(memory_directory());
  const std::string path = folder.write("training_log.csv",
                                        "step,train_loss,eval_loss,lr,elapsed_sec\r\n0,,3.5,1e-4,0."
                                        "0\r\n20,2.5,,9e-5,1.5\r\nx,1,,,\r\n");
  const std::vector<LogRow> rows = read_training_log(path);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_TRUE(rows[0].is_eval);
  EXPECT_EQ(rows[1].step, 20);
  EXPECT_EQ(rows[1].loss, 2.5);
  EXPECT_EQ(rows[1].learning_rate, 9e-5);
}

TEST(ReadTrainingLog, RefusesWhatIsNone) {
  const TemporaryDirectory folder(memory_directory());
  expect_refusal([&] { read_training_log(folder.path()); }, ExitCode::missing_input,
                 "trainer_log.jsonl");
  const std::string other = folder.write("other.csv", "a,b\n1,2\n");
  expect_refusal([&] { read_training_log(other); }, ExitCode::refused_input, "other.csv:1");
  const std::string empty = folder.write("trainer_log.jsonl", "\x80 not json\n{}\n");
  expect_refusal([&] { read_training_log(empty); }, ExitCode::refused_input, "no row with a loss");
}

void write_run(const std::string& path, const std::string& settings, float change_at_3) {
  std::filesystem::create_directory(path);
  RunLog log({.output_dir = path});
  for (int64_t step = 1; step <= 5; ++step) {
    StepRecord record;
    record.step = step;
    record.total_steps = 5;
    record.loss_float32 = step == 3 ? 1.0f + change_at_3 : 1.0f;
    record.loss = record.loss_float32;
    log.step(record);
  }
  std::ofstream(path + "/config.resolved.yaml") << settings;
}

TEST(CompareRuns, NamesTheFirstSettingAndStepThatDiffer) {
  const TemporaryDirectory folder(memory_directory());
  write_run(folder / "a", "output_dir: a\nlearning_rate: 1e-4\nseed: 42\n", 0);
  write_run(folder / "b", "output_dir: b\nlearning_rate: 2e-4\nseed: 43\n", 0.5f);
  const RunDifferences found = compare_runs(folder / "a", folder / "b");
  ASSERT_EQ(found.settings.size(), 2u);
  EXPECT_EQ(found.settings[0].what, "learning_rate");
  EXPECT_EQ(found.settings[0].second, "2e-4");
  EXPECT_EQ(found.steps_compared, 2);
  EXPECT_EQ(found.step, 3);
  ASSERT_FALSE(found.at_step.empty());
  EXPECT_EQ(found.at_step[0].what, "loss_bits");
  EXPECT_EQ(found.at_step[0].second, "3fc00000");
  EXPECT_EQ(differences_json(found)["first_setting"], "learning_rate");
  EXPECT_EQ(differences_json(found)["first_step"]["step"], 3);
}

TEST(CompareRuns, FindsNothingBetweenEqualRuns) {
  const TemporaryDirectory folder(memory_directory());
  write_run(folder / "a", "output_dir: a\n", 0);
  write_run(folder / "b", "output_dir: b\n", 0);
  EXPECT_TRUE(compare_runs(folder / "a", folder / "b").equal());
}

TEST(CompareRuns, NamesTheStepThatOneLacks) {
  const TemporaryDirectory folder(memory_directory());
  write_run(folder / "a", "", 0);
  write_run(folder / "b", "", 0);
  std::filesystem::remove_all(folder / "b/runs");
  RunLog({.output_dir = folder / "b", .resume_step = 4});
  const RunDifferences found = compare_runs(folder / "a", folder / "b");
  EXPECT_EQ(found.step, 5);
  ASSERT_EQ(found.at_step.size(), 1u);
  EXPECT_EQ(found.at_step[0].first, "5");
  EXPECT_EQ(found.at_step[0].second, "");
}

TEST(WriteRunFacts, WritesWhatDiffReads) {
  const TemporaryDirectory folder(memory_directory());
  for (const char* name : {"a", "b"}) {
    write_run(folder / name, "", 0);
    const DataFacts data{.files = {{"train.jsonl", 10, name, false, 3}}};
    write_run_facts(folder / name, {.run_id = name}, data, {.name = "m"}, "seed: 1\n");
  }
  const RunDifferences found = compare_runs(folder / "a", folder / "b");
  ASSERT_EQ(found.facts.size(), 1u);
  EXPECT_EQ(found.facts[0].what, "data.json files.0.sha256");
}

}  // namespace
}  // namespace isogrid
