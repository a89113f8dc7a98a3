#include "data/rows.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "data/batch_stream.h"
#include "tests/core/refusal.h"
#include "tests/data/prepared.h"

namespace isogrid {
namespace {

/// Questions and answers of different lengths, as many as asked for.
std::string numbered(int count, int first = 0) {
  std::string text;
  for (int i = first; i < first + count; ++i) {
    text += R"({"instruction": "What is )" + std::to_string(i) + R"(?", "input": "", "output": ")";
    for (int n = 0; n <= i % 7; ++n) text += "It is " + std::to_string(i) + ". ";
    text += "\"}\n";
  }
  return text;
}

class Rows : public testing::Test {
 protected:
  Rows() { write(numbered(30)); }
  void write(const std::string& text) {
    run.folder.write("d.jsonl", text);
    run.describe("d.jsonl");
  }
  void expect_refused(ExitCode code, const std::string& part) {
    expect_refusal([&] { run.prepare(); }, code, part);
  }
  DataRun run;
};

TEST_F(Rows, FromFileToBatch) {
  const PreparedData data = run.prepare();
  EXPECT_EQ(data.train->rows(), 30);
  EXPECT_EQ(data.report.train.examples, 30);
  const BatchStream stream(data.train, {.rows_per_micro_batch = 4});
  EXPECT_EQ(stream.steps_per_epoch(), 8);
  int64_t labels = 0, tokens = 0;
  for (int64_t step = 0; step < 8; ++step) {
    labels += stream.label_tokens(step);
    tokens += stream.tokens(step);
  }
  EXPECT_EQ(labels, data.report.train.label_tokens);
  EXPECT_EQ(tokens, data.report.train.tokens);
  EXPECT_EQ(data.train->place(17), (run.folder / "d.jsonl") + ":18");
}

TEST_F(Rows, ThreadsDoNotChangeARow) {
  write(numbered(3000));
  std::string first;
  for (const unsigned threads : {1u, 2u, 5u}) {
    run.config.data.tokenized_path = run.folder / ("cache" + std::to_string(threads));
    DataHooks hooks;
    hooks.threads = threads;
    const std::string fingerprint = run.prepare(hooks).train->fingerprint();
    if (first.empty()) first = fingerprint;
    EXPECT_EQ(fingerprint, first);
  }
}

TEST_F(Rows, AreFoundAgainByContent) {
  const auto cached = [&] { return run.prepare().report.datasets[0].was_cached; };
  EXPECT_FALSE(cached());
  EXPECT_TRUE(cached());
  run.config.data.cutoff_len = 100;
  EXPECT_FALSE(cached());
  run.config.conversation.chat_template = "chatml";
  EXPECT_FALSE(cached());
  run.config.data.overwrite_cache = true;
  EXPECT_FALSE(cached());
  run.config.data.overwrite_cache = false;
  EXPECT_TRUE(cached());
  write(numbered(31));
  EXPECT_FALSE(cached());
  run.config.data.packing = true;  // packing is planned anew each time
  EXPECT_TRUE(cached());
}

TEST_F(Rows, ADamagedCacheIsMadeAnew) {
  const PreparedData whole = run.prepare();
  const std::string path = whole.report.datasets[0].cache_path;
  const std::string bytes = file_content(path);
  for (size_t at = 0; at < bytes.size(); at += 97) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    run.folder.write("cache/" + std::filesystem::path(path).filename().string(), damaged);
    const PreparedData again = run.prepare();
    ASSERT_FALSE(again.report.datasets[0].was_cached) << "byte " << at;
    ASSERT_EQ(again.train->fingerprint(), whole.train->fingerprint());
  }
  for (const size_t size : {size_t{0}, size_t{5}, bytes.size() / 2, bytes.size() - 1}) {
    run.folder.write("cache/" + std::filesystem::path(path).filename().string(),
                     bytes.substr(0, size));
    ASSERT_FALSE(run.prepare().report.datasets[0].was_cached) << "size " << size;
  }
}

TEST_F(Rows, SeveralProcessesAgree) {
  std::vector<std::jthread> workers;
  std::vector<std::string> fingerprints(6);
  std::atomic<int> made{0};
  for (size_t i = 0; i < fingerprints.size(); ++i)
    workers.emplace_back([&, i] {
      const PreparedData data = run.prepare();
      fingerprints[i] = data.train->fingerprint();
      made += !data.report.datasets[0].was_cached;
    });
  workers.clear();
  EXPECT_EQ(made, 1);
  for (const std::string& fingerprint : fingerprints) EXPECT_EQ(fingerprint, fingerprints[0]);
}

TEST_F(Rows, CanBeStopped) {
  write(numbered(2000));
  std::atomic<int> asked{0};
  DataHooks hooks;
  hooks.stop = [&] { return ++asked > 50; };
  expect_refusal([&] { run.prepare(hooks); }, ExitCode::stopped_early, "stopped");
  for (const auto& entry : std::filesystem::directory_iterator(run.folder / "cache"))
    EXPECT_EQ(entry.path().extension(), ".lock") << "left behind: " << entry.path();
}

TEST_F(Rows, UnusableRecordsAreNamed) {
  write(numbered(2) + "{\"instruction\": 5}\nnonsense\n" + numbered(1));
  expect_refused(ExitCode::refused_input, "d.jsonl:3: column 'instruction'");
  expect_refused(ExitCode::refused_input, "d.jsonl:4:1: ");
  expect_refused(ExitCode::refused_input, "2 records cannot be used, allowed are 0 (max_bad_rows)");
  run.config.data.max_bad_rows = 2;
  const PreparedData data = run.prepare();
  EXPECT_EQ(data.train->rows(), 3);
  EXPECT_NE(report_text(data.report).find("d.jsonl:3: column"), std::string::npos);
  run.config.data.max_bad_rows = 1;  // the cache is there, and still they are too many
  expect_refused(ExitCode::refused_input, "d.jsonl:3: ");
}

TEST_F(Rows, AMissingColumnIsNamed) {
  write("{\"instruction\": \"a\", \"output\": \"b\"}\n");
  expect_refused(ExitCode::refused_input, "column 'input' is missing");
  run.describe("d.jsonl", R"("columns": {"prompt": "instruction"})");
  expect_refused(ExitCode::refused_input, "no answer");
  run.describe("d.jsonl", R"("columns": {"prompt": "instruction", "response": "output"})");
  EXPECT_EQ(run.prepare().train->rows(), 1);
}

TEST_F(Rows, ExamplesWithoutLabelsAreLeftOutAndCounted) {
  run.folder.write("d.txt", "Hello there\n\nGood bye\n");
  run.describe("d.txt");
  run.config.finetuning.stage = "pt";
  const PreparedData data = run.prepare();
  EXPECT_EQ(data.report.datasets[0].counts.records, 3);
  EXPECT_EQ(data.report.datasets[0].counts.unlabelled, 1);
  EXPECT_EQ(data.train->rows(), 1);  // packed
  EXPECT_EQ(data.report.train.examples, 2);
}

TEST_F(Rows, MaxSamplesTakesTheFirst) {
  run.config.data.max_samples = 4;
  EXPECT_EQ(run.prepare().train->rows(), 4);
  run.describe("d.jsonl", R"("num_samples": 40)");
  EXPECT_EQ(run.prepare().train->rows(), 4);
  run.config.data.max_samples.reset();
  const PreparedData data = run.prepare();
  EXPECT_EQ(data.train->rows(), 40);
  std::set<uint64_t> seen;
  for (int64_t row = 0; row < 30; ++row) seen.insert(data.train->pieces(row)[0].example);
  EXPECT_EQ(seen.size(), 30u);
}

TEST_F(Rows, SomeAreHeldOut) {
  run.config.data.val_size = 0.1;
  const PreparedData data = run.prepare();
  EXPECT_EQ(data.train->rows(), 27);
  ASSERT_EQ(data.eval.size(), 1u);
  EXPECT_EQ(data.eval[0].rows->rows(), 3);
  EXPECT_EQ(data.eval[0].name, "");
}

TEST_F(Rows, SeveralDatasets) {
  run.folder.write("e.jsonl", numbered(5, 100));
  run.folder.write("dataset_info.json",
                   R"({"d": {"file_name": "d.jsonl"}, "e": {"file_name": "e.jsonl"}})");
  run.config.data.dataset = {"d", "e"};
  EXPECT_EQ(run.prepare().train->rows(), 35);
  EXPECT_EQ(run.prepare().train->place(30), (run.folder / "e.jsonl") + ":1");
  run.config.data.mix_strategy = "interleave_under";
  EXPECT_EQ(run.prepare().train->rows(), 10);
  run.config.data.mix_strategy = "concat";
  run.config.data.eval_dataset = {"e", "d"};
  EXPECT_EQ(run.prepare().eval[0].rows->rows(), 35);
  run.config.data.eval_on_each_dataset = true;
  const PreparedData data = run.prepare();
  ASSERT_EQ(data.eval.size(), 2u);
  EXPECT_EQ(data.eval[0].name, "e");
  EXPECT_EQ(data.eval[0].rows->rows(), 5);
}

TEST_F(Rows, PackedRowsHoldAllTokens) {
  const int64_t tokens = run.prepare().train->tokens();
  run.config.data.packing = true;
  run.config.data.cutoff_len = 200;
  const PreparedData data = run.prepare();
  EXPECT_EQ(data.train->tokens(), tokens);
  EXPECT_LT(data.train->rows(), 30);
  EXPECT_GT(data.report.train.packing_efficiency(), 0.8);
  EXPECT_LE(data.report.train.longest_row, 200);
}

TEST_F(Rows, TheFingerprintFollowsWhatIsFed) {
  const std::string plain = run.prepare().train->fingerprint();
  run.config.data.packing = true;
  EXPECT_NE(run.prepare().train->fingerprint(), plain);
  run.config.data.packing = false;
  EXPECT_EQ(run.prepare().train->fingerprint(), plain);
  run.config.data.mask_history = true;  // changes nothing in single turns
  EXPECT_EQ(run.prepare().train->fingerprint(), plain);
}

TEST_F(Rows, TheDateBelongsToRowsThatTellIt) {
  DataHooks hooks;
  hooks.today = Day{.year = 2026, .month = 5, .day = 7};
  EXPECT_FALSE(run.prepare(hooks).report.today.has_value());
  run.config.conversation.chat_template = "smollm3";
  const PreparedData data = run.prepare(hooks);
  ASSERT_TRUE(data.report.today.has_value());
  EXPECT_EQ(data.report.today->day, 7);
  EXPECT_EQ(run.prepare(hooks).train->fingerprint(), data.train->fingerprint());
  hooks.today->day = 8;
  EXPECT_NE(run.prepare(hooks).train->fingerprint(), data.train->fingerprint());
  EXPECT_NE(DataRun::shape(*data.train, 0).find("07 May 2026"), std::string::npos);
}

}  // namespace
}  // namespace isogrid
