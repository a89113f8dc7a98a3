#include "trainer/anchor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "models/score.h"
#include "tests/models/tolerance.h"
#include "tests/trainer/small_training.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::small_rows;
using test::small_training;
using test::Trains;

const std::vector<std::vector<uint64_t>> kTwoRows = {{5, 0}, {3}};

/// A model in training that has moved away from where it was when its anchor was made.
struct Anchored {
  explicit Anchored(Trains what, int64_t interval = 1) : training(small_training(what)) {
    rows = small_rows(store, kTwoRows);
    KdConfig config;
    config.kd_anchor_weight = 0.25;
    config.kd_anchor_samples = 16;
    config.kd_anchor_interval = interval;
    training.anchor = plan_anchor(config, /*seed=*/1, rows, /*vocabulary=*/61);
    read_anchor(*training.anchor, training.model);
  }

  /// Log-probabilities of the model as it is at the labelled tokens of a row.
  at::Tensor log_probs(int64_t row) const {
    const at::NoGradGuard no_grad;
    Batch batch;
    rows->append_row(row, batch);
    const TokenLayout layout = lay_out(training.model.config, batch.document_ends, {}, at::kCPU);
    const at::Tensor hidden =
        forward_hidden(training.model, at::tensor(batch.input_ids, at::kLong), layout);
    return at::log_softmax(head_logits(training.model, hidden), 1)
        .index_select(0, at::tensor(batch.label_rows, at::kLong));
  }

  ExampleStore store;
  std::shared_ptr<const RowStore> rows;
  Training training;
};

/// Another opinion than the model's.
void disturb(Anchor& anchor) {
  for (TeacherGuesses& reference : anchor.references) reference.ids = reference.ids.flip({1});
}

class AnchorOf : public testing::TestWithParam<Trains> {};

TEST_P(AnchorOf, AModelThatHasNotMovedPullsNowhere) {
  Anchored run(GetParam());
  run.training.trainables.gradient.zero_();
  EXPECT_NEAR(hold_to_anchor(run.training, 0, 1), 0, 1e-6);
  EXPECT_LE(run.training.trainables.gradient.abs().max().item<float>(), 1e-6);
}

TEST_P(AnchorOf, AModelThatMovedIsTheDivergenceOfWhatItWas) {
  Anchored run(GetParam());
  std::vector<at::Tensor> before;
  for (int64_t row = 0; row < 2; ++row) before.push_back(run.log_probs(row));
  {
    const at::NoGradGuard no_grad;
    at::manual_seed(3);
    at::Tensor& masters = run.training.trainables.master;
    masters.add_(at::randn_like(masters), 0.02);
    refresh_working(run.training.trainables);
  }
  // The vocabulary is smaller than the guesses that are kept, so this is the whole divergence.
  for (int64_t step = 0; step < 4; ++step) {
    const auto row = run.training.anchor->places[static_cast<size_t>(step % 2)];
    const at::Tensor was = before[static_cast<size_t>(row)];
    const double expected =
        0.25 * (was.exp() * (was - run.log_probs(row))).sum(1).mean().item<double>();
    ASSERT_GT(expected, 1e-4);
    run.training.trainables.gradient.zero_();
    EXPECT_NEAR(hold_to_anchor(run.training, step, 1), expected, 1e-4 * expected);
    EXPECT_GT(run.training.trainables.gradient.abs().max().item<float>(), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(WhatTrains, AnchorOf, testing::Values(Trains::all, Trains::adapters));

TEST(Anchor, IsLookedAtEverySoManySteps) {
  Anchored run(Trains::all, /*interval=*/3);
  run.training.anchor->weight = 1;
  disturb(*run.training.anchor);
  for (int64_t step = 0; step < 7; ++step)
    EXPECT_EQ(hold_to_anchor(run.training, step, 1) > 0.1, step % 3 == 0) << step;
}

TEST(Anchor, ScalesItsGradientAndNotItsLoss) {
  Anchored run(Trains::all);
  disturb(*run.training.anchor);
  run.training.trainables.gradient.zero_();
  const double once = hold_to_anchor(run.training, 0, 1);
  const at::Tensor gradient = run.training.trainables.gradient.clone();
  run.training.trainables.gradient.zero_();
  EXPECT_EQ(hold_to_anchor(run.training, 0, 8), once);
  EXPECT_LE(relative_difference(run.training.trainables.gradient, gradient * 8), 1e-5);
}

TEST(Anchor, ShowsAllItsReferencesToACheckpoint) {
  Anchored run(Trains::adapters);
  KdConfig config;
  Anchor empty = plan_anchor(config, /*seed=*/1, run.rows, /*vocabulary=*/61);
  std::map<std::string, at::Tensor> laid_out;
  visit_anchor(empty,
               [&](const std::string& name, at::Tensor& tensor) { laid_out[name] = tensor; });
  visit_anchor(*run.training.anchor, [&](const std::string& name, at::Tensor& tensor) {
    ASSERT_EQ(laid_out.count(name), 1u) << name;
    EXPECT_EQ(laid_out[name].sizes(), tensor.sizes()) << name;
    EXPECT_EQ(laid_out[name].scalar_type(), tensor.scalar_type()) << name;
    laid_out.erase(name);
  });
  EXPECT_TRUE(laid_out.empty());
}

TEST(Anchor, DrawsItsRowsBySeedAmongThoseWithLabels) {
  ExampleStore store;
  const auto rows = small_rows(store, {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}});
  KdConfig config;
  config.kd_anchor_samples = 3;
  const auto places = [&](uint64_t seed) { return plan_anchor(config, seed, rows, 61).places; };
  EXPECT_EQ(places(1).size(), 3u);
  EXPECT_EQ(places(1), places(1));
  EXPECT_NE(places(1), places(2));
}

}  // namespace
}  // namespace isogrid
