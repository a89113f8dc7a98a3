#include "trainer/step.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/models/tolerance.h"
#include "tests/trainer/small_training.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::small_rows;
using test::small_training;
using test::Trains;

const std::vector<std::vector<uint64_t>> kUnpacked = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
const std::vector<std::vector<uint64_t>> kPacked = {{7, 0}, {6, 1, 2}, {5, 3}, {4}};

struct Cut {
  std::vector<std::vector<uint64_t>> rows;
  int64_t rows_per_micro_batch, micro_batches;
};

struct Outcome {
  double loss, norm;
  at::Tensor gradient;
};

Outcome outcome_of(const Cut& cut, Trains what, const PassSettings& pass) {
  ExampleStore store;
  Training training = small_training(what);
  training.pass = pass;
  const BatchStream batches(small_rows(store, cut.rows),
                            {.rows_per_micro_batch = cut.rows_per_micro_batch,
                             .micro_batches_per_step = cut.micro_batches,
                             .shuffled = false});
  const StepReport report = run_step(training, batches, 0);
  EXPECT_TRUE(report.updated);
  return {report.loss, report.grad_norm, training.trainables.gradient.clone()};
}

class CutOfTheBatch : public testing::TestWithParam<Trains> {};

TEST_P(CutOfTheBatch, ChangesNeitherLossNorGradient) {
  const PassSettings plain, noisy{.noise = {.seed = 4, .neftune_alpha = 5}, .label_smoothing = 0.1};
  for (const PassSettings& pass : {plain, noisy}) {
    const Outcome whole = outcome_of({kUnpacked, 8, 1}, GetParam(), pass);
    for (const Cut& cut :
         {Cut{kUnpacked, 1, 8}, Cut{kUnpacked, 3, 3}, Cut{kPacked, 1, 4}, Cut{kPacked, 4, 1}}) {
      const Outcome other = outcome_of(cut, GetParam(), pass);
      EXPECT_NEAR(other.loss, whole.loss, 1e-6 * whole.loss);
      EXPECT_NEAR(other.norm, whole.norm, 2e-6 * whole.norm);
      EXPECT_LE(relative_difference(other.gradient, whole.gradient), 2e-6);
    }
  }
}

TEST_P(CutOfTheBatch, RecomputedBlocksGiveTheSameBits) {
  const Outcome plain = outcome_of({kPacked, 2, 2}, GetParam(), {});
  const Outcome again = outcome_of({kPacked, 2, 2}, GetParam(), {.recompute_blocks = true});
  EXPECT_EQ(plain.loss, again.loss);
  EXPECT_TRUE(plain.gradient.equal(again.gradient));
}

INSTANTIATE_TEST_SUITE_P(WhatTrains, CutOfTheBatch, testing::Values(Trains::all, Trains::adapters));

TEST(Step, TheLossOfRandomWeightsIsAboutTheLogarithmOfTheVocabulary) {
  const Outcome outcome = outcome_of({kUnpacked, 8, 1}, Trains::all, {});
  EXPECT_NEAR(outcome.loss, std::log(61.0), 1.0);
}

TEST(Step, LeavesEverythingAloneWhenTheGradientIsNotFinite) {
  ExampleStore store;
  Training training = small_training(Trains::all);
  const BatchStream batches(small_rows(store, kUnpacked), {.rows_per_micro_batch = 8});
  const at::NoGradGuard no_grad;
  training.trainables.master.slice(0, 5, 6).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor before = training.trainables.master.clone();
  const StepReport report = run_step(training, batches, 0);
  EXPECT_FALSE(report.updated);
  EXPECT_FALSE(report.first_bad_tensor.empty());
  EXPECT_TRUE(training.trainables.master.slice(0, 6, 40).equal(before.slice(0, 6, 40)));
  EXPECT_EQ(training.optimizer.steps, 0);
  for (const SliceState& state : training.optimizer.states)
    for (const at::Tensor& moment : state) EXPECT_EQ(moment.abs().max().item<float>(), 0);
}

TEST(Step, ClipsToTheLongestGradientAllowed) {
  ExampleStore store;
  const auto rows = small_rows(store, kUnpacked);
  const BatchStream batches(rows, {.rows_per_micro_batch = 8});
  OptimizerConfig sgd;
  sgd.optim = "sgd";
  for (const double longest : {0.0, 0.01}) {
    Training training = small_training(Trains::all);
    training.optimizer = make_optimizer(sgd, training.trainables);
    training.max_grad_norm = longest;
    const at::Tensor before = training.trainables.master.clone();
    const StepReport report = run_step(training, batches, 0);
    const double moved =
        (training.trainables.master - before).norm().item<double>() / report.learning_rate;
    EXPECT_NEAR(moved, longest > 0 ? longest : report.grad_norm, 2e-3 * moved);
    EXPECT_GT(report.grad_norm, 0.05);
  }
}

}  // namespace
}  // namespace isogrid
