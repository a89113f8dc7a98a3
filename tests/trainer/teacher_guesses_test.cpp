#include "trainer/teacher_guesses.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/models/tolerance.h"
#include "tests/trainer/small_training.h"

namespace isogrid {
namespace {

using test::relative_difference;

std::vector<uint32_t> document(int32_t seed, int32_t tokens, int32_t first_label) {
  std::vector<uint32_t> words;
  for (int32_t i = 0; i < tokens; ++i)
    words.push_back(TokenWord::make((seed * 17 + i * 5) % 61, i >= first_label));
  return words;
}

class TeacherTest : public testing::Test {
 protected:
  TeacherTest() : training_(test::small_training(test::Trains::adapters)) {
    meta_.vocabulary = 61;
    meta_.top_k = 5;
    meta_.negatives = 4;
    meta_.temperatures = {1, 2};
    meta_.seed = 3;
    for (const auto& words : {document(1, 9, 3), document(2, 5, 1), document(3, 12, 11)})
      words_.push_back(words);
  }
  std::vector<KdDocument> documents() const { return {words_.begin(), words_.end()}; }

  Training training_;
  KdMeta meta_;
  std::vector<std::vector<uint32_t>> words_;
};

TEST_F(TeacherTest, KeepsTheBestGuessesOfEveryLabelledToken) {
  const at::NoGradGuard no_grad;
  const TeacherGuesses guesses = Teacher(training_.model, meta_).read(documents(), 0);
  ASSERT_EQ(guesses.ids.sizes(), (std::vector<int64_t>{6 + 4 + 1, 5}));
  int64_t row = 0;
  for (const auto& words : words_) {
    std::vector<int64_t> ids;
    for (const uint32_t word : words) ids.push_back(TokenWord::id(word));
    const auto count = static_cast<int64_t>(ids.size());
    const TokenLayout layout = lay_out(training_.model.config, {count}, {}, at::kCPU);
    const at::Tensor hidden = forward_hidden(training_.model, at::tensor(ids, at::kLong), layout);
    const at::Tensor log_probs = at::log_softmax(head_logits(training_.model, hidden), 1);
    for (size_t i = 0; i + 1 < words.size(); ++i) {
      if (!TokenWord::has_label(words[i + 1])) continue;
      const at::Tensor here = log_probs[static_cast<int64_t>(i)];
      const at::Tensor best = guesses.ids[row].to(at::kLong);
      EXPECT_EQ(best[0].item<int64_t>(), here.argmax().item<int64_t>());
      EXPECT_LE(relative_difference(guesses.log_probs[row], here.index_select(0, best)), 1e-5);
      at::Tensor rest = here.clone();
      rest.index_fill_(0, best, -1e30);
      EXPECT_NEAR(guesses.log_tails[row][0].item<float>(), at::logsumexp(rest, {0}).item<float>(),
                  1e-5);
      EXPECT_NEAR(guesses.log_tails[row][1].item<float>(),
                  at::logsumexp(rest / 2, {0}).item<float>(), 1e-5);
      const at::Tensor others = guesses.negative_ids[row].to(at::kLong);
      EXPECT_LE(relative_difference(guesses.negative_log_probs[row], here.index_select(0, others)),
                1e-5);
      ++row;
    }
  }
  EXPECT_EQ(row, guesses.ids.size(0));
}

TEST_F(TeacherTest, DrawsNegativesWithoutRepeatsAndAlikeHoweverDocumentsAreCut) {
  const Teacher teacher(training_.model, meta_);
  const TeacherGuesses together = teacher.read(documents(), 10);
  std::vector<TeacherGuesses> parts;
  for (size_t i = 0; i < words_.size(); ++i)
    parts.push_back(teacher.read({words_[i]}, 10 + static_cast<int64_t>(i)));
  const TeacherGuesses apart = joined_guesses(parts);
  EXPECT_TRUE(together.negative_ids.equal(apart.negative_ids));
  for (int64_t row = 0; row < together.ids.size(0); ++row) {
    std::set<int32_t> seen;
    for (int64_t j = 0; j < 5; ++j) seen.insert(together.ids[row][j].item<int32_t>());
    for (int64_t j = 0; j < 4; ++j) seen.insert(together.negative_ids[row][j].item<int32_t>());
    EXPECT_EQ(seen.size(), 9u);
  }
}

TEST_F(TeacherTest, LeavesOutWhatIsBeyondTheStudentsVocabulary) {
  meta_.vocabulary = 9;
  meta_.negatives = 4;
  const TeacherGuesses guesses = Teacher(training_.model, meta_).read(documents(), 0);
  EXPECT_LT(guesses.ids.max().item<int32_t>(), 9);
  EXPECT_LT(guesses.negative_ids.max().item<int32_t>(), 9);
  const at::Tensor total = guesses.log_probs.exp().sum(1) + guesses.log_tails.select(1, 0).exp();
  EXPECT_LE(relative_difference(total, at::ones_like(total)), 1e-5);
}

}  // namespace
}  // namespace isogrid
