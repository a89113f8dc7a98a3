#include "calibrate/gptq.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "calibrate/input_moments.h"
#include "tests/core/refusal.h"

namespace isogrid {
namespace {

at::Tensor matrix(at::ArrayRef<double> values, int64_t columns) {
  return at::tensor(values, at::TensorOptions().dtype(at::kFloat)).reshape({-1, columns});
}

/// Four bits over a whole row, scales as they come: with 7.5 in the row the scale is 1.
GptqOptions whole_row(ColumnOrder order) {
  GptqOptions options;
  options.rule = {.bits = 4, .group_size = -1, .symmetric = true, .scale_type = at::kFloat};
  options.order = order;
  options.damping = 0;
  return options;
}

std::vector<int> codes_of(const GptqResult& result) {
  const at::Tensor codes = unpacked_codes(result.parts).reshape({-1}).to(at::kInt);
  const auto* from = codes.const_data_ptr<int>();
  return {from, from + codes.numel()};
}

at::Tensor decoded(const PackedGroupParts& parts) {
  return whole_weight(PackedGroupWeight(parts), at::kFloat, at::kCPU);
}

TEST(Gptq, LaterColumnsMakeUpForEarlierOnes) {
  // 7.5 becomes 7, half too little; inputs that go together by 0.8 let the other column give
  // 0.5 * 0.8 back: 0.4 + 0.4 rounds to 1 and not to 0.
  const GptqResult result = quantise_gptq("w", matrix({7.5, 0.4}, 2), matrix({1, 0.8, 0.8, 1}, 2),
                                          whole_row(ColumnOrder::stored));
  EXPECT_EQ(codes_of(result), (std::vector<int>{15, 9}));
  // (-0.5, 0.6): 0.25 + 0.36 - 2 * 0.8 * 0.3.
  EXPECT_NEAR(result.error, 0.13, 1e-5);
}

TEST(Gptq, ImportantColumnsComeFirst) {
  const at::Tensor weight = matrix({7.5, 1.4, 2.4}, 3);
  const at::Tensor moment = matrix({1, 0, 0, 0, 1, 0.5, 0, 0.5, 4}, 3);
  // As stored: 1.4 -> 1, then 2.4 + 0.4 * 0.5 / 4 -> 2.
  EXPECT_EQ(codes_of(quantise_gptq("w", weight, moment, whole_row(ColumnOrder::stored))),
            (std::vector<int>{15, 9, 10}));
  // The loud column first: 2.4 -> 2, then 1.4 + 0.4 * 0.5 -> 2.
  EXPECT_EQ(codes_of(quantise_gptq("w", weight, moment, whole_row(ColumnOrder::important))),
            (std::vector<int>{15, 10, 10}));
}

TEST(Gptq, ScatteredGroupsFollowTheOrderOfWork) {
  GptqOptions options = whole_row(ColumnOrder::scattered);
  options.rule.group_size = 2;
  const at::Tensor moment = at::tensor({1.0, 4.0, 2.0, 3.0}).diag();
  const GptqResult result = quantise_gptq("w", matrix({1, 2, 3, 4}, 4), moment, options);
  EXPECT_TRUE(result.parts.group_of.equal(at::tensor({1, 0, 1, 0}, at::kInt)));
  // {2, 4} have a scale of 8/15, {3, 1} of 6/15.
  EXPECT_TRUE(result.parts.scales.allclose(matrix({8.0 / 15, 6.0 / 15}, 2)));
}

TEST(Gptq, AColumnWhoseInputNeverSpokeBecomesZero) {
  const GptqResult result = quantise_gptq("w", matrix({7.5, 3.0}, 2), matrix({1, 0, 0, 0}, 2),
                                          whole_row(ColumnOrder::important));
  EXPECT_EQ(codes_of(result), (std::vector<int>{15, 8}));
}

TEST(Gptq, MomentsOfTooFewRowsAreDampedUntilTheyCanBeInverted) {
  at::manual_seed(1);
  InputMoments moments;
  moments.add(at::randn({3, 64}));  // rank 3
  GptqOptions options;
  options.rule.group_size = 32;
  options.damping = 0;
  const GptqResult result =
      quantise_gptq("w", at::randn({8, 64}), moments.second_moment(), options);
  EXPECT_TRUE(std::isfinite(result.error));
}

TEST(Gptq, ValuesThatAreNotFiniteAreRefusedByName) {
  const auto refuse = [](double value) {
    GptqOptions options;
    options.rule.group_size = -1;
    quantise_gptq("layers.3.up_proj", matrix({1, value}, 2), at::eye(2), options);
  };
  expect_refusal([&] { refuse(NAN); }, ExitCode::numeric,
                 "layers.3.up_proj: holds values that are not finite");
  expect_refusal([&] { refuse(1e7); }, ExitCode::numeric, "layers.3.up_proj: holds 1e+07");
}

struct SolverCase {
  int bits;
  int64_t group;
  bool symmetric;
  ColumnOrder order;
};

class GptqSolver : public testing::TestWithParam<SolverCase> {};

/// Inputs that go together, as those of real layers do.
at::Tensor correlated_inputs(int64_t tokens, int64_t inputs) {
  return at::mm(at::randn({tokens, inputs}), at::randn({inputs, inputs}) * 0.3 + at::eye(inputs)) *
         (at::rand({inputs}) + 0.1);
}

TEST_P(GptqSolver, ReportsTheErrorItMakesWhichIsLessThanThatOfRounding) {
  at::manual_seed(7);
  const SolverCase& c = GetParam();
  const at::Tensor weight = at::randn({24, 320}) * 0.1;
  InputMoments moments;
  moments.add(correlated_inputs(700, 320));
  const at::Tensor moment = moments.second_moment();
  GptqOptions options;
  options.rule = {
      .bits = c.bits, .group_size = c.group, .symmetric = c.symmetric, .scale_type = at::kFloat};
  options.order = c.order;
  const GptqResult result = quantise_gptq("w", weight, moment, options);
  const at::Tensor change = decoded(result.parts) - weight;
  const at::Tensor damped =
      moment + at::eye(320) * (result.damping * moment.diagonal().mean().item<double>());
  EXPECT_NEAR(product_error(change, damped) / result.error, 1.0, 1e-3);
  const at::Tensor nearest = decoded(rounded_to_nearest("gptq", weight, options.rule));
  EXPECT_LT(product_error(change, moment), 0.8 * product_error(nearest - weight, moment));
}

INSTANTIATE_TEST_SUITE_P(Shapes, GptqSolver,
                         testing::Values(SolverCase{4, 32, true, ColumnOrder::stored},
                                         SolverCase{4, 128, true, ColumnOrder::important},
                                         SolverCase{4, -1, false, ColumnOrder::scattered},
                                         SolverCase{3, 64, false, ColumnOrder::important},
                                         SolverCase{3, 256, true, ColumnOrder::stored},
                                         SolverCase{2, 32, false, ColumnOrder::scattered},
                                         SolverCase{8, 128, true, ColumnOrder::important},
                                         SolverCase{8, -1, false, ColumnOrder::stored}));

TEST(GroupGrid, HoldsZeroAndBothEnds) {
  const float values[] = {-1.0f, 2.0f};
  const GroupRule uneven{.bits = 2, .group_size = -1, .symmetric = false, .scale_type = at::kFloat};
  const GroupGrid grid = fitted_grid(values, 2, uneven);  // 3 steps of 1 from -1 to 2
  EXPECT_EQ(grid.scale, 1.0f);
  EXPECT_EQ(grid.zero, 1);
  EXPECT_EQ(grid.code(-1.0f, 3), 0);
  EXPECT_EQ(grid.code(2.0f, 3), 3);
  EXPECT_EQ(grid.code(-1e30f, 3), 0);
  EXPECT_EQ(grid.code(1e30f, 3), 3);
  const float positive[] = {1.5f, 3.0f};
  EXPECT_EQ(fitted_grid(positive, 2, uneven).zero, 0);
}

TEST(GroupGrid, ScalesAreNumbersOfTheFilesType) {
  const float values[] = {1.0f};
  const GroupGrid grid = fitted_grid(values, 1, {.bits = 4, .scale_type = at::kHalf});
  EXPECT_EQ(grid.scale, static_cast<float>(c10::Half(2.0f / 15)));
}

TEST(GroupGrid, NothingIsTheZeroPoint) {
  for (const bool symmetric : {true, false}) {
    const GroupRule rule{.bits = 4, .group_size = 4, .symmetric = symmetric};
    const PackedGroupParts parts = rounded_to_nearest("gptq", at::zeros({2, 8}), rule);
    EXPECT_TRUE(decoded(parts).eq(0).all().item<bool>());
    // Below the least float16 there is no scale either.
    const PackedGroupParts tiny = rounded_to_nearest("gptq", at::zeros({2, 8}) + 1e-9, rule);
    EXPECT_TRUE(decoded(tiny).eq(0).all().item<bool>());
  }
}

TEST(GroupGrid, CodesSurvivePacking) {
  at::manual_seed(3);
  for (const int bits : {2, 3, 4, 8}) {
    const at::Tensor codes = (at::rand({5, 70}) * (1 << bits)).to(at::kByte);
    const GroupRule rule{.bits = bits, .group_size = 32};
    const PackedGroupParts parts =
        packed_parts("gptq", rule, codes, at::rand({5, 3}), at::zeros({5, 3}, at::kByte));
    EXPECT_TRUE(unpacked_codes(parts).equal(codes)) << bits;
  }
}

}  // namespace
}  // namespace isogrid
