#include "data/kd_rows.h"

#include <gtest/gtest.h>

#include "data/batch_stream.h"
#include "tests/core/refusal.h"
#include "tests/data/kd_folder.h"
#include "tests/data/prepared.h"

namespace isogrid {
namespace {

using test::KdFolder;

/// Three conversations, and a cache of the documents they become.
class TaughtRun : public DataRun {
 public:
  explicit TaughtRun(int64_t held_out = 0) : cache_({}) {
    folder.write("d.json", R"([{"instruction": "Hi", "input": "", "output": "Hello there"},
                               {"instruction": "One", "input": "", "output": "Two three"},
                               {"instruction": "Bye", "input": "", "output": "See you"}])");
    describe("d.json");
    const PreparedData data = prepare();
    for (int64_t row = 0; row < data.train->rows(); ++row) {
      const KdDocument words = data.train->words(data.train->pieces(row)[0]);
      cache_.words.emplace_back(words.begin(), words.end());
    }
    cache_.meta.tokenizer_sha256 = coder().sha256;
    cache_.meta.held_out = held_out;
    cache_.meta.made_with = {{"template", "qwen3_nothink"}, {"cutoff_len", "2048"}};
    cache_.write();
    config.kd.kd_cache = cache_.path();
  }
  PreparedData run_data() const {
    return prepare_run_data(config, coder(), chat_template("qwen3_nothink"));
  }
  KdFolder cache_;
};

TEST(TaughtRows, CarryTheTeacherOfEachDocumentWhereverItStands) {
  TaughtRun run;
  run.config.data.packing = true;
  const PreparedData data = run.run_data();
  BatchPlan plan;
  plan.rows_per_micro_batch = 3;
  const BatchStream stream(data.train, plan);
  const Batch batch = stream.at(0, 0);
  ASSERT_TRUE(batch.teacher);
  ASSERT_EQ(batch.teacher->ids.size(), 3 * batch.label_rows.size());
  const auto cache = KdCache::open(run.cache_.path());
  TeacherTokens expected;
  for (const uint64_t example : batch.sample_ids)
    cache->append(static_cast<int64_t>(example), expected);
  EXPECT_EQ(batch.teacher->ids, expected.ids);
  EXPECT_EQ(batch.teacher->log_tails, expected.log_tails);
}

TEST(TaughtRows, HaveTheFingerprintOfDataAndTeacher) {
  TaughtRun run;
  const std::string with_teacher = run.run_data().report.train_fingerprint;
  EXPECT_NE(with_teacher, run.prepare().report.train_fingerprint);
  EXPECT_EQ(with_teacher, run.run_data().report.train_fingerprint);
}

TEST(TaughtRows, NameTheDocumentTheCacheDoesNotHoldAndTheSettingThatDiffers) {
  TaughtRun run;
  run.config.data.cutoff_len = 12;
  expect_refusal([&] { run.run_data(); }, ExitCode::configuration, "d.json");
  expect_refusal([&] { run.run_data(); }, ExitCode::configuration,
                 "cutoff_len: 2048 there, 12 here");
}

TEST(TaughtRows, RefuseTheCacheOfAnotherTokenizer) {
  TaughtRun run;
  run.cache_.tamper(kKdMetaName, [&](std::string& text) {
    text.replace(text.find(DataRun::coder().sha256), 64, std::string(64, '0'));
  });
  expect_refusal([&] { run.run_data(); }, ExitCode::configuration, "another tokenizer");
}

TEST(TaughtRows, RefuseATemperatureWhoseRestIsNotKnown) {
  TaughtRun run;
  run.config.kd.kd_temperature = 3;
  expect_refusal([&] { run.run_data(); }, ExitCode::configuration, "kd_temperature = 3");
  run.config.kd.kd_loss = "candidates";
  EXPECT_NO_THROW(run.run_data());
}

TEST(TaughtRows, RefuseTokensTheModelHasNot) {
  const PreparedData data = TaughtRun().run_data();
  EXPECT_NO_THROW(check_teacher_ids(*data.train, 50));
  expect_refusal([&] { check_teacher_ids(*data.train, 20); }, ExitCode::configuration,
                 "the model's vocabulary holds 0 to 19");
}

TEST(TaughtRows, AreTheCachesOwnWhereNoDatasetIsNamed) {
  TaughtRun run(/*held_out=*/1);
  run.config.data.dataset.clear();
  const PreparedData data = run.run_data();
  EXPECT_EQ(data.train->rows(), 2);
  ASSERT_EQ(data.eval.size(), 1u);
  EXPECT_EQ(data.eval[0].rows->rows(), 1);
  EXPECT_EQ(data.report.train.rows, 2);
  Batch batch;
  data.eval[0].rows->append_row(0, batch);
  EXPECT_EQ(batch.teacher->ids.size(), 3 * batch.label_rows.size());
  run.config.data.val_size = 0.5;
  expect_refusal([&] { run.run_data(); }, ExitCode::configuration, "val_size");
}

}  // namespace
}  // namespace isogrid
