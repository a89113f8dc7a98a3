#include "trainer/loss/distillation.h"

#include <ATen/Context.h>

#include <ATen/ops/eye.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "models/score.h"
#include "quant/dense.h"
#include "tests/core/refusal.h"
#include "tests/models/tolerance.h"
#include "tests/trainer/small_training.h"
#include "tests/trainer/taught_batch.h"
#include "trainer/loss/sampled_tokens.h"

namespace isogrid {
namespace {

using test::labelled_batch;
using test::relative_difference;
using test::teacher_of;
using test::tolerance;

at::Tensor long_tensor(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }

/// Everything a loss is computed from, in one type.
struct Case {
  Batch batch;
  at::Tensor hidden, matrix, rows, labels;
};

Case random_case(const std::vector<int64_t>& labels, int64_t vocabulary, at::ScalarType type,
                 int64_t top_k, int64_t negatives, int64_t width = 6) {
  at::manual_seed(11);
  Case c;
  c.batch = labelled_batch(labels);
  const auto count = static_cast<int64_t>(c.batch.label_rows.size());
  c.batch.teacher =
      teacher_of(at::randn({count, vocabulary}, at::kDouble) * 2, top_k, negatives, {0.5, 1, 2});
  c.hidden = at::randn({c.batch.tokens(), width}, at::kDouble).to(type);
  c.matrix = at::randn({vocabulary, width}, at::kDouble).to(type);
  c.rows = long_tensor(c.batch.label_rows);
  c.labels = at::randint(0, vocabulary, {count}, at::kLong);
  return c;
}

struct Result {
  at::Tensor losses, d_hidden, d_matrix;
};

Result composed(const Case& c, const KdSettings& settings, const at::Tensor& scale) {
  const at::Tensor hidden = c.hidden.clone().requires_grad_();
  const at::Tensor matrix = c.matrix.clone().requires_grad_();
  const at::Tensor losses =
      distillation_loss_composition(hidden, matrix, c.batch, c.rows, c.labels, settings);
  (losses * scale).sum().backward();
  return {losses.detach(), hidden.grad(), matrix.grad()};
}

Result computed(const Case& c, const KdSettings& settings, const at::Tensor& scale,
                std::optional<double> known_factor = {}) {
  const at::Tensor hidden = c.hidden.clone().requires_grad_();
  at::Tensor matrix = c.matrix.clone().requires_grad_();
  DenseWeight head(matrix);
  const at::Tensor losses =
      distillation_loss(hidden, head, c.batch, c.rows, c.labels, settings, known_factor);
  (losses * scale).sum().backward();
  return {losses.detach(), hidden.grad(), matrix.grad()};
}

void expect_same(const Result& found, const Result& expected, double allowed) {
  EXPECT_LE(relative_difference(found.losses, expected.losses), allowed);
  EXPECT_LE(relative_difference(found.d_hidden, expected.d_hidden), allowed);
  EXPECT_LE(relative_difference(found.d_matrix, expected.d_matrix), allowed);
}

std::vector<KdSettings> all_settings() {
  std::vector<KdSettings> list;
  for (const KdForm form : {KdForm::exact, KdForm::candidates, KdForm::a, KdForm::b})
    for (const double temperature : {0.5, 1.0, 2.0})
      for (const double hard : {0.0, 0.3})
        for (const double label : {0.0, 0.7})
          for (const double full : {0.0, 0.2})
            list.push_back({.form = form,
                            .temperature = temperature,
                            .weight = 0.9,
                            .label_weight = label,
                            .hard_top1 = hard,
                            .hard_full = full});
  list.push_back({.form = KdForm::exact, .weight = 0, .label_weight = 1});
  for (const double hard : {0.0, 0.3})
    list.push_back({.form = KdForm::a,
                    .weight = 0.9,
                    .hard_top1 = hard,
                    .sampled_ce = 0.4,
                    .sampled_negatives = 7,
                    .seed = 5,
                    .step = 3});
  list.push_back({.form = KdForm::b, .weight = 0, .hard_top1 = 1});
  return list;
}

TEST(Distillation, EqualsItsCompositionInFloat64InEveryForm) {
  const Case c = random_case({3, 1, 5}, 40, at::kDouble, 4, 3);
  const at::Tensor uneven = at::randn({9}, at::kDouble);
  const at::Tensor even = at::full_like(uneven, 0.125);
  for (const KdSettings& settings : all_settings()) {
    SCOPED_TRACE(testing::Message()
                 << static_cast<int>(settings.form) << " T " << settings.temperature << " hard "
                 << settings.hard_top1 << " label " << settings.label_weight << " full "
                 << settings.hard_full);
    expect_same(computed(c, settings, uneven), composed(c, settings, uneven), 1e-11);
    expect_same(computed(c, settings, even, 0.125), composed(c, settings, even), 1e-11);
  }
}

class DistillationTypes : public testing::TestWithParam<at::ScalarType> {};

TEST_P(DistillationTypes, EqualsItsCompositionOverSeveralChunks) {
  const at::ScalarType type = GetParam();
  const int64_t vocabulary = 131073;
  const Case c = random_case({127, 3}, vocabulary, type, 16, 8);
  ASSERT_LT(head_rows_per_chunk(vocabulary), 130);
  Case wide = c;
  wide.hidden = c.hidden.to(at::kDouble);
  wide.matrix = c.matrix.to(at::kDouble);
  const at::Tensor scale = at::randn({130}, at::kFloat);
  for (const auto& [form, label] :
       {std::pair(KdForm::exact, 0.0), std::pair(KdForm::exact, 0.5),
        std::pair(KdForm::candidates, 0.0), std::pair(KdForm::b, 0.5)}) {
    const KdSettings settings{.form = form, .label_weight = label, .hard_full = 0.1};
    expect_same(computed(c, settings, scale), composed(wide, settings, scale.to(at::kDouble)),
                10 * tolerance(type));
  }
}
INSTANTIATE_TEST_SUITE_P(Types, DistillationTypes, testing::Values(at::kFloat, at::kBFloat16));

/// sum over candidates of p (log p - log q) at temperature t, times t^2, from plain loops.
double divergence_by_hand(const std::vector<double>& teacher, const std::vector<double>& student,
                          double t) {
  double sum_p = 0, sum_q = 0, divergence = 0;
  for (size_t i = 0; i < teacher.size(); ++i) {
    sum_p += std::exp(teacher[i] / t);
    sum_q += std::exp(student[i] / t);
  }
  for (size_t i = 0; i < teacher.size(); ++i) {
    const double p = std::exp(teacher[i] / t) / sum_p, q = std::exp(student[i] / t) / sum_q;
    divergence += p * (std::log(p) - std::log(q));
  }
  return divergence * t * t;
}

/// One token, four words. The head is the identity, so the hidden state is the logits.
Case four_words() {
  Case c;
  c.batch = labelled_batch({1});
  TeacherTokens teacher;
  teacher.top_k = 2;
  teacher.negatives = 1;
  teacher.ids = {2, 0};
  teacher.log_probs = {std::log(0.5f), std::log(0.25f)};
  teacher.temperatures = {1};
  teacher.log_tails = {std::log(0.25f)};
  teacher.negative_ids = {3};
  teacher.negative_log_probs = {std::log(0.125f)};
  c.batch.teacher = teacher;
  c.hidden = at::tensor({0.0, 1.0, 2.0, -1.0, 0.0, 0.0, 0.0, 0.0}, at::kDouble).view({2, 4});
  c.matrix = at::eye(4, at::kDouble);
  c.rows = long_tensor({0});
  c.labels = long_tensor({1});
  return c;
}

TEST(Distillation, OfFourWordsIsWhatOneWorksOutByHand) {
  const Case c = four_words();
  const at::Tensor one = at::ones({1}, at::kDouble);
  const double e = std::exp(1.0), all = 1 + e + e * e + 1 / e;
  const auto loss = [&](const KdSettings& s) {
    return computed(c, s, one).losses[0].item<double>();
  };
  // Two guesses and everything else as a third outcome.
  const double rest = e + 1 / e;
  EXPECT_NEAR(loss({.form = KdForm::exact, .temperature = 1}),
              0.5 * std::log(0.5 * all / (e * e)) + 0.25 * std::log(0.25 * all) +
                  0.25 * std::log(0.25 * all / rest),
              1e-7);
  // Loss A: the guesses alone, and its hard target over the whole vocabulary at temperature 1.
  EXPECT_NEAR(loss({.form = KdForm::a, .temperature = 2, .hard_top1 = 0.2, .hard_full = 0.1}),
              divergence_by_hand({std::log(0.5), std::log(0.25)}, {2, 0}, 2) +
                  0.3 * std::log(all / (e * e)),
              1e-7);
  // Loss B: guesses and negatives, the hard target among them, and over all at the last token.
  EXPECT_NEAR(
      loss({.form = KdForm::b, .temperature = 2, .weight = 3, .hard_top1 = 0.2, .hard_full = 0.1}),
      3 * divergence_by_hand({std::log(0.5), std::log(0.25), std::log(0.125)}, {2, 0, -1}, 2) +
          0.2 * std::log((e * e + 1 + 1 / e) / (e * e)) + 0.1 * std::log(all / (e * e)),
      1e-7);
  EXPECT_NEAR(loss({.temperature = 1, .weight = 0, .label_weight = 0.5}), 0.5 * std::log(all / e),
              1e-12);
}

// Of four words two are guesses, so the two that are drawn are the others, whatever the draw.
TEST(Distillation, HoldsTheFirstGuessAgainstTokensThatAreNoGuesses) {
  const Case c = four_words();
  const double e = std::exp(1.0), all = 1 + e + e * e + 1 / e;
  for (const double hard : {0.0, 0.5}) {
    const KdSettings settings{.form = KdForm::a,
                              .weight = 0,
                              .hard_top1 = hard,
                              .sampled_ce = 0.4,
                              .sampled_negatives = 2};
    EXPECT_NEAR(computed(c, settings, at::ones({1}, at::kDouble)).losses[0].item<double>(),
                (0.4 + hard) * std::log(all / (e * e)), 1e-12);
  }
}

TEST(SampledTokens, AreOthersInEveryStepAndTheSameHoweverABatchIsCut) {
  const Case c = random_case({3, 5}, 40, at::kDouble, 4, 0);
  const KdSettings settings{.sampled_negatives = 9, .seed = 1, .step = 2};
  const at::Tensor whole = sampled_tokens(c.batch, settings, 40);
  ASSERT_EQ(whole.sizes(), (std::vector<int64_t>{8, 9}));
  for (int64_t row = 0; row < 8; ++row) {
    std::set<int64_t> seen;
    for (int64_t j = 0; j < 9; ++j) seen.insert(whole[row][j].item<int64_t>());
    for (size_t j = 0; j < 4; ++j) seen.insert(c.batch.teacher->ids[4 * size_t(row) + j]);
    EXPECT_EQ(seen.size(), 13u);
    EXPECT_TRUE(*seen.begin() >= 0 && *seen.rbegin() < 40);
  }
  Batch second = labelled_batch({5});
  second.sample_ids = {1};
  second.teacher = c.batch.teacher;
  second.teacher->ids.erase(second.teacher->ids.begin(), second.teacher->ids.begin() + 12);
  EXPECT_TRUE(sampled_tokens(second, settings, 40).equal(whole.slice(0, 3)));
  KdSettings later = settings;
  later.step = 3;
  EXPECT_FALSE(sampled_tokens(c.batch, later, 40).equal(whole));
}

TEST(SampledTokens, MoreThanTheVocabularyHasAreRefused) {
  const Case c = random_case({3}, 40, at::kDouble, 4, 0);
  expect_refusal([&] { sampled_tokens(c.batch, {.sampled_negatives = 37}, 40); },
                 ExitCode::configuration, "kd_sampled_negatives = 37");
}

TEST(Distillation, WithEveryWordAGuessIsTheWholeDivergence) {
  const Case c = random_case({4}, 12, at::kDouble, 12, 0);
  const at::Tensor one = at::ones({4}, at::kDouble);
  for (const double t : {1.0, 2.0}) {
    const Result exact = computed(c, {.form = KdForm::exact, .temperature = t}, one);
    const Result guesses = computed(c, {.form = KdForm::a, .temperature = t}, one);
    expect_same(exact, guesses, 1e-11);
    EXPECT_TRUE(exact.d_hidden.isfinite().all().item<bool>());
  }
}

TEST(Distillation, OfAStudentThatIsTheTeacherIsNothing) {
  Case c = random_case({5}, 30, at::kDouble, 4, 0, /*width=*/30);
  c.matrix = at::eye(30, at::kDouble);
  const at::Tensor logits = at::index_select(c.hidden, 0, c.rows);
  c.batch.teacher = teacher_of(logits, 4, 0, {1, 2});
  for (const double t : {1.0, 2.0}) {
    const Result result = computed(c, {.temperature = t}, at::ones({5}, at::kDouble));
    EXPECT_LE(result.losses.abs().max().item<double>(), 1e-6);
    EXPECT_LE(result.d_hidden.abs().max().item<double>(), 1e-6);
  }
}

TEST(Distillation, SurvivesAStudentThatLeavesNothingToTheRest) {
  Case c = four_words();
  c.hidden = at::tensor({0.0, -900.0, 2.0, -900.0, 0.0, 0.0, 0.0, 0.0}, at::kFloat).view({2, 4});
  c.matrix = at::eye(4, at::kFloat);
  const Result result = computed(c, {.temperature = 1}, at::ones({1}, at::kFloat));
  EXPECT_NEAR(result.losses[0].item<double>(), 0.25 * 900, 1);
  // It is pushed back with the whole of what it lacks, shared by those of the rest alike.
  EXPECT_NEAR(result.d_hidden[0][1].item<double>(), -0.125, 1e-5);
}

TEST(Distillation, LetsTheHardTargetFadeInAStraightLine) {
  KdConfig config;
  config.kd_hard_top1 = 0.5;
  config.kd_hard_top1_end = 0.1;
  const Distillation distillation = distillation_of(config, 0);
  EXPECT_DOUBLE_EQ(settings_at(distillation, 0, 5).hard_top1, 0.5);
  EXPECT_DOUBLE_EQ(settings_at(distillation, 2, 5).hard_top1, 0.3);
  EXPECT_DOUBLE_EQ(settings_at(distillation, 4, 5).hard_top1, 0.1);
  EXPECT_DOUBLE_EQ(settings_at(distillation, 9, 5).hard_top1, 0.1);
}

TEST(Distillation, FiguresAreThoseOfTheLoss) {
  Training training = test::small_training(test::Trains::all);
  Case c = random_case({4, 6}, 61, at::kFloat, 5, 2, /*width=*/32);
  const at::Tensor hidden = at::index_select(c.hidden, 0, c.rows);
  for (const KdForm form : {KdForm::exact, KdForm::b}) {
    const KdSettings settings{.form = form, .hard_top1 = 7, .hard_full = 7};
    const KdFigures figures =
        kd_figures(training.model, hidden, c.labels, *c.batch.teacher, settings);
    const at::Tensor matrix = training.model.head->resident(at::kFloat);
    const at::Tensor expected =
        distillation_loss_composition(c.hidden, matrix, c.batch, c.rows, c.labels, {.form = form});
    EXPECT_NEAR(figures.divergence, expected.sum().item<double>(), 1e-3);
    const at::Tensor best = at::mm(hidden, matrix.t()).argmax(1);
    int64_t agreed = 0;
    for (int64_t i = 0; i < 10; ++i)
      agreed += best[i].item<int64_t>() == c.batch.teacher->ids[static_cast<size_t>(5 * i)];
    EXPECT_EQ(figures.agreed, agreed);
  }
}

}  // namespace
}  // namespace isogrid
