#include "trainer/commands/kd_answers.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "data/kd_writer.h"
#include "tests/core/refusal.h"
#include "tests/data/prepared.h"
#include "tests/trainer/small_training.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

std::vector<uint32_t> words_of(const std::vector<std::pair<int32_t, bool>>& tokens) {
  std::vector<uint32_t> words;
  for (const auto& [id, trained] : tokens) words.push_back(TokenWord::make(id, trained));
  return words;
}

TEST(KdPrompt, IsEverythingBeforeTheLastStretchOfLabels) {
  const bool trained = true, asked = false;
  EXPECT_EQ(prompt_tokens(words_of({{1, asked}, {2, asked}, {3, trained}, {4, trained}})), 2);
  EXPECT_EQ(prompt_tokens(words_of({{1, asked}, {2, trained}, {3, asked}, {4, trained}})), 3);
  EXPECT_EQ(prompt_tokens(words_of({{1, asked}, {2, trained}, {3, asked}})), 1);
  EXPECT_EQ(prompt_tokens(words_of({{1, trained}, {2, trained}})), 0);
}

/// Forty prompts of different lengths for a model of random weights; token 7 ends an answer.
class KdAnswersTest : public testing::Test {
 protected:
  KdAnswersTest() : training_(test::small_training(test::Trains::adapters)) {
    for (int32_t d = 0; d < 40; ++d) {
      std::vector<std::pair<int32_t, bool>> tokens;
      for (int32_t i = 0; i < 3 + d % 5; ++i) tokens.push_back({(d * 11 + i * 7) % 61, false});
      tokens.push_back({5, true});
      words_.push_back(words_of(tokens));
    }
    documents_.all.assign(words_.begin(), words_.end());
    documents_.held_out = 4;
    plan_.settings.max_new_tokens = 9;
    plan_.stop_ids = {7};
    plan_.seed = 3;
  }

  KdDocuments answered_in(const std::string& folder, int64_t batch, const DataHooks& hooks = {}) {
    return answered({.folder = folder_ / folder,
                     .teacher = training_.model,
                     .teacher_sha256 = std::string(64, 'b'),
                     .coder = DataRun::coder(),
                     .plan = plan_,
                     .longest = longest_,
                     .vocabulary = 61,
                     .batch = batch},
                    documents_, hooks);
  }
  static std::vector<std::vector<uint32_t>> words(const KdDocuments& documents) {
    std::vector<std::vector<uint32_t>> all;
    for (const KdDocument document : documents.all)
      all.emplace_back(document.begin(), document.end());
    return all;
  }

  Training training_;
  std::vector<std::vector<uint32_t>> words_;
  KdDocuments documents_;
  AnswerPlan plan_;
  int64_t longest_ = 64;
  TemporaryDirectory folder_;
};

TEST_F(KdAnswersTest, AreWhatTheTeacherWritesBehindEachPrompt) {
  const KdDocuments found = answered_in("a", 8);
  ASSERT_EQ(found.all.size(), 40u);
  EXPECT_EQ(found.held_out, 4);
  for (size_t d = 0; d < 40; ++d) {
    GenerationRequest request = plan_.request();
    const auto asked = static_cast<size_t>(prompt_tokens(documents_.all[d]));
    request.prompts.emplace_back();
    for (size_t i = 0; i < asked; ++i)
      request.prompts[0].push_back(static_cast<int32_t>(TokenWord::id(documents_.all[d][i])));
    request.streams = {d};
    std::vector<uint32_t> expected;
    for (const int32_t id : request.prompts[0]) expected.push_back(TokenWord::make(id, false));
    const auto answers = generate(training_.model, request).ids;
    for (const int32_t id : answers[0]) expected.push_back(TokenWord::make(id, true));
    EXPECT_EQ(words(found)[d], expected) << d;
  }
}

TEST_F(KdAnswersTest, AreTheSameWhateverTheBatch) {
  const auto alone = words(answered_in("a", 1));
  EXPECT_EQ(words(answered_in("b", 32)), alone);
  plan_.seed = 4;
  EXPECT_NE(words(answered_in("c", 8)), alone);
}

TEST_F(KdAnswersTest, AreGoneOnWithWhereTheyStopped) {
  int64_t asked = 0, patience = 1'000'000;
  DataHooks hooks;
  hooks.stop = [&] { return ++asked > patience; };
  const auto whole = words(answered_in("a", 4, hooks));
  patience = asked * 9 / 10;  // in the second file of answers
  asked = 0;
  expect_refusal([&] { answered_in("b", 4, hooks); }, ExitCode::stopped_early, "");
  const auto first = folder_.path() / "b" / ".answers-0.rows";
  ASSERT_TRUE(fs::exists(first));
  const auto written = fs::last_write_time(first);
  EXPECT_EQ(words(answered_in("b", 8)), whole);
  EXPECT_EQ(fs::last_write_time(first), written);
}

TEST_F(KdAnswersTest, ArePutAsideWhereTheyAreToOtherQuestions) {
  answered_in("a", 8);
  plan_.settings.max_new_tokens = 4;
  const KdDocuments shorter = answered_in("a", 8);
  for (const KdDocument document : shorter.all) EXPECT_LE(kd_labels(document), 4);
}

TEST_F(KdAnswersTest, OfACacheThatIsThereAreItsDocuments) {
  KdDocuments found = answered_in("a", 8);
  KdMeta meta;
  meta.teacher = "teacher";
  meta.teacher_sha256 = meta.tokenizer_sha256 = std::string(64, 'b');
  meta.vocabulary = 61;
  meta.top_k = 2;
  meta.documents_per_shard = 100;
  meta.made_with = found.made_with;
  meta.documents_sha256 = kd_documents_hash(found.all, 0);
  meta.documents = 40;
  meta.held_out = 4;
  for (const KdDocument document : found.all) {
    meta.tokens += static_cast<int64_t>(document.size());
    meta.label_tokens += kd_labels(document);
  }
  const std::string folder = folder_ / "a";
  KdCacheWriter(folder, meta, found.all, 0, {});
  remove_answers(folder);
  EXPECT_FALSE(fs::exists(folder + "/.answers-0.rows"));
  DataHooks hooks;
  hooks.stop = []() -> bool { throw std::logic_error("it answers again"); };
  EXPECT_EQ(words(answered_in("a", 8, hooks)), words(found));
  plan_.seed = 9;
  expect_refusal([&] { answered_in("a", 8); }, ExitCode::locked, "holds another cache");
}

TEST_F(KdAnswersTest, WithoutRoomAreLeftOut) {
  longest_ = 5;  // prompts are 3 to 7 tokens
  const KdDocuments found = answered_in("a", 8);
  EXPECT_EQ(found.all.size(), 16u);
  EXPECT_EQ(found.held_out, 1);
  for (const KdDocument document : found.all) EXPECT_LE(document.size(), 5u);
  longest_ = 3;
  expect_refusal([&] { answered_in("b", 8); }, ExitCode::configuration, "cutoff_len");
}

TEST_F(KdAnswersTest, NeedPrompts) {
  words_.push_back(words_of({{1, true}, {2, true}}));
  documents_.all.push_back(words_.back());
  expect_refusal([&] { answered_in("a", 8); }, ExitCode::configuration, "no prompt");
}

}  // namespace
}  // namespace isogrid
