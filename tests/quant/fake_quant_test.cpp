#include "quant/fake_quant.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "core/error.h"
#include "quant/integer_grid.h"
#include "tests/quant/bits.h"

namespace isogrid {
namespace {

using test::same_bits;

at::Tensor decoded(const Grid& grid, const at::Tensor& records, int64_t columns) {
  at::Tensor out = at::empty({records.size(0), columns}, at::kFloat);
  for (int64_t row = 0; row < records.size(0); ++row)
    grid.decode(static_cast<const std::byte*>(records[row].const_data_ptr()), columns,
                out[row].mutable_data_ptr<float>());
  return out;
}

at::Tensor served(const WeightSource& source, at::ScalarType type, const LowRank* delta = nullptr) {
  at::Tensor out = at::empty({source.outputs(), source.inputs()}, type);
  source.materialise(out, 0, source.outputs(), delta);
  return out;
}

FakeQuantWeight started(at::Tensor latent, const std::string& grid, FakeQuantOptions options = {}) {
  FakeQuantWeight weight("w", std::move(latent), make_grid(grid, "qat_target"), options);
  weight.begin_step({options.start_step, 100}, nullptr);
  return weight;
}

std::map<std::string, at::Tensor*> tensors_of(WeightSource& source) {
  std::map<std::string, at::Tensor*> tensors;
  source.visit("w", Role::weight,
               [&](const TensorSlot& slot) { tensors[slot.name] = slot.tensor; });
  return tensors;
}

class EveryGrid : public testing::TestWithParam<std::string> {
 protected:
  at::Tensor latent(int64_t rows = 37) { return at::randn({rows, 512}) * 0.02; }
};

TEST_P(EveryGrid, ServesWhatItsRecordsDecodeTo) {
  for (const ScaleMode mode : {ScaleMode::derived, ScaleMode::frozen, ScaleMode::learned}) {
    const auto grid = make_grid(GetParam(), "");
    if (mode != ScaleMode::derived && !grid->recodes()) continue;
    if (mode == ScaleMode::learned && grid->scales(512) == 0) continue;
    FakeQuantWeight weight = started(latent(), GetParam(), {.scales = mode});
    const at::NoGradGuard no_grad;
    *tensors_of(weight).at("w.weight") += at::randn({37, 512}) * 0.003;
    const auto gain = tensors_of(weight).find("w.scale_gain");
    if (gain != tensors_of(weight).end() && mode == ScaleMode::learned)
      tensors_of(weight).at("w.scale_gain")->mul_(1.07);
    const at::Tensor wanted = decoded(weight.grid(), weight.records(nullptr), 512);
    EXPECT_TRUE(same_bits(served(weight, at::kFloat), wanted));
    EXPECT_TRUE(same_bits(served(weight, at::kBFloat16), wanted.to(at::kBFloat16)));
    at::Tensor some = at::empty({5, 512}, at::kFloat);
    weight.materialise(some, 30, 35, nullptr);
    EXPECT_TRUE(same_bits(some, wanted.slice(0, 30, 35)));
    const at::Tensor ids = at::tensor({3, 36, 3}, at::kLong);
    EXPECT_TRUE(same_bits(weight.rows(ids, at::kFloat), wanted.index_select(0, ids)));
  }
}

TEST_P(EveryGrid, RoundsTheSumOfWeightAndAdapter) {
  const at::Tensor base = latent();
  const LowRank delta{at::randn({4, 512}), at::randn({37, 4}), 0.01};
  FakeQuantWeight weight("w", base, make_grid(GetParam(), "qat_target"), {});
  weight.begin_step({0, 100}, &delta);
  const at::Tensor sum = base + at::matmul(delta.b, delta.a) * delta.scale;
  EXPECT_TRUE(
      same_bits(served(weight, at::kFloat, &delta), served(started(sum, GetParam()), at::kFloat)));
  EXPECT_TRUE(same_bits(served(weight, at::kFloat, &delta),
                        decoded(weight.grid(), weight.records(&delta), 512)));
}

TEST_P(EveryGrid, TheNumberOfThreadsChangesNoBit) {
  const FakeQuantWeight weight = started(latent(301), GetParam());
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor alone = served(weight, at::kFloat);
  at::set_num_threads(2);
  const at::Tensor together = served(weight, at::kFloat);
  at::set_num_threads(before);
  EXPECT_TRUE(same_bits(alone, together));
}

std::vector<std::string> grid_names() {
  std::vector<std::string> names;
  for (const GridRow& row : grid_rows()) names.emplace_back(row.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Names, EveryGrid, testing::ValuesIn(grid_names()));

TEST(FakeQuant, BeforeItsFirstStepTheWeightIsItself) {
  const at::Tensor latent = at::randn({3, 64}).requires_grad_();
  FakeQuantWeight weight("w", latent, make_grid("int4_g64", ""), {.start_step = 7});
  weight.begin_step({6, 100}, nullptr);
  EXPECT_FALSE(weight.rounds());
  EXPECT_TRUE(same_bits(weight.resident(at::kFloat), latent));
  EXPECT_TRUE(same_bits(served(weight, at::kFloat), latent));
  weight.begin_step({7, 100}, nullptr);
  EXPECT_TRUE(weight.rounds());
  EXPECT_FALSE(weight.resident(at::kFloat).defined());
  EXPECT_FALSE(same_bits(served(weight, at::kFloat), latent));
}

TEST(FakeQuant, AWeightThatNothingMovesIsRoundedOnce) {
  FakeQuantWeight weight = started(at::randn({3, 64}), "gguf:q4_0");
  const at::Tensor once = weight.resident(at::kFloat);
  EXPECT_TRUE(once.is_same(weight.resident(at::kFloat)));
  EXPECT_TRUE(same_bits(once, served(weight, at::kFloat)));
  EXPECT_TRUE(same_bits(weight.resident(at::kBFloat16), once.to(at::kBFloat16)));
}

TEST(FakeQuant, TheGradientPassesStraightThrough) {
  const at::Tensor latent = (at::randn({3, 64})).requires_grad_();
  FakeQuantWeight weight = started(latent, "int4_g64");
  const at::Tensor d = at::randn({3, 64});
  weight.accumulate(d);
  EXPECT_TRUE(same_bits(latent.grad(), d));
  weight.accumulate_rows(at::tensor({2, 2}, at::kLong), d.slice(0, 0, 2));
  EXPECT_TRUE(latent.grad()[2].allclose(d[2] + d[0] + d[1]));
}

at::Tensor group(std::vector<float> values) {
  values.resize(32, 0.0f);
  return at::tensor(values, at::kFloat).reshape({1, 32});
}

// Scale 0.5 frozen, then the weights move: 3.7 still rounds to code 7, 3.8 and -4.3 are beyond.
TEST(FakeQuant, ClippedWeightsGetNoGradientWhenAsked) {
  const at::Tensor latent = group({-4.0f, 3.5f, 1.0f}).requires_grad_();
  FakeQuantWeight weight =
      started(latent, "int4_g32", {.scales = ScaleMode::frozen, .clipped = true});
  {
    const at::NoGradGuard no_grad;
    latent.copy_(group({-4.3f, 3.7f, 3.8f}));
  }
  weight.accumulate(group({1.0f, 2.0f, 3.0f, 4.0f}));
  EXPECT_TRUE(same_bits(latent.grad(), group({0.0f, 2.0f, 0.0f, 4.0f})));
  EXPECT_EQ(served(weight, at::kFloat)[0][2].item<float>(), 3.5f);
}

// Scale 0.5: 0.7 is code 1 (0.5), 9 is beyond and code 7. With gain 1 the gain's gradient is
// d (0.5 - 0.7) + d' 3.5.
TEST(FakeQuant, ALearnedScaleTakesTheRoundingErrorAndWhatIsClipped) {
  const at::Tensor latent = group({-4.0f, 3.5f}).requires_grad_();
  FakeQuantWeight weight = started(latent, "int4_g32", {.scales = ScaleMode::learned});
  at::Tensor& gain = *tensors_of(weight).at("w.scale_gain");
  gain.requires_grad_();
  {
    const at::NoGradGuard no_grad;
    latent.copy_(group({0.7f, 9.0f}));
  }
  weight.accumulate(group({10.0f, 100.0f}));
  EXPECT_FLOAT_EQ(gain.grad()[0][0].item<float>(), 10 * -0.2f + 350);
  EXPECT_EQ(latent.grad()[0][1].item<float>(), 100.0f);
}

// Beyond the grid the served weight is code 7 times the scale: smooth in the gain up to the
// rounding of the stored scale, which a grid of unrounded scales does not have.
TEST(FakeQuant, TheGainsGradientIsItsDifferenceQuotientWhereCodesRest) {
  const at::Tensor latent = at::randn({2, 96});
  FakeQuantWeight weight = started(latent, "torchao:int8wo", {.scales = ScaleMode::learned});
  {
    const at::NoGradGuard no_grad;
    latent.mul_(40);  // all but the smallest are clipped; a centre of zeros keeps code 0
    latent.masked_fill_(latent.abs().lt(100), 0);
  }
  at::Tensor& gain = *tensors_of(weight).at("w.scale_gain");
  gain.requires_grad_();
  const at::Tensor d = at::randn({2, 96});
  weight.accumulate(d);
  const auto loss = [&] { return (served(weight, at::kFloat) * d).sum(1).to(at::kDouble); };
  const at::NoGradGuard no_grad;
  gain.add_(1.0 / 256);
  const at::Tensor up = loss();
  gain.sub_(2.0 / 256);
  const at::Tensor slope = (up - loss()) * 128;
  EXPECT_TRUE(slope.allclose(gain.grad().reshape({2}).to(at::kDouble), 1e-4, 1e-4));
}

// A scale that reaches the four has forty ones as code 0, an error of 40. With d the error is
// 40 (d - 1)^2 + (4 - 2 d)^2, least at 1.09; of the eighths tried, 9 / 8 gives 0.625 + 3.0625.
TEST(FakeQuant, AScaleThatStaysIsTheOneOfLeastSquares) {
  std::vector<float> values(64, 0.0f);
  std::fill(values.begin(), values.begin() + 40, 1.0f);
  values[50] = 4.0f;
  const at::Tensor latent = at::tensor(values).reshape({1, 64});
  const auto squares = [&](ScaleMode mode) {
    const FakeQuantWeight weight = started(latent, "gguf:q2_0", {.scales = mode});
    return (served(weight, at::kFloat) - latent).square().sum().item<float>();
  };
  EXPECT_EQ(squares(ScaleMode::derived), 40.0f);
  EXPECT_EQ(squares(ScaleMode::frozen), 3.6875f);
  EXPECT_EQ(squares(ScaleMode::learned), 3.6875f);
}

/// A grid that searches, made of one that does not.
class SearchedGrid final : public Grid {
 public:
  std::string_view name() const override { return "searched"; }
  int64_t block() const override { return 32; }
  bool searches() const override { return true; }
  int64_t row_bytes(int64_t columns) const override { return inner_->row_bytes(columns); }
  void encode(const float* row, const float* importance, int64_t columns,
              std::byte* record) const override {
    inner_->encode(row, importance, columns, record);
  }
  void decode(const std::byte* record, int64_t columns, float* row) const override {
    inner_->decode(record, columns, row);
  }
  bool recodes() const override { return true; }
  void recode(const float* row, int64_t columns, std::byte* record) const override {
    inner_->recode(row, columns, record);
  }

 private:
  std::shared_ptr<const Grid> inner_ = make_grid("int4_g32", "");
};

/// One run of ten steps in which the weight doubles; what it served in each.
struct DoublingRun {
  at::Tensor latent;
  std::unique_ptr<FakeQuantWeight> weight;

  DoublingRun(at::Tensor start, const FakeQuantOptions& options)
      : latent(start.clone()),
        weight(std::make_unique<FakeQuantWeight>("w", latent, std::make_shared<SearchedGrid>(),
                                                 options)) {}
  std::vector<at::Tensor> steps(int64_t first, int64_t last) {
    std::vector<at::Tensor> all;
    for (int64_t step = first; step < last; ++step) {
      weight->begin_step({step, 10}, nullptr);
      all.push_back(served(*weight, at::kFloat));
      latent.mul_(1.5);
    }
    return all;
  }
};

TEST(FakeQuant, SearchesAtItsStepsAndRestsInTheLastShare) {
  DoublingRun run(group({-4.0f, 3.5f}), {.start_step = 1, .refresh_steps = 3, .freeze_share = 0.3});
  const auto served_at = run.steps(0, 10);
  const auto clips = [&](size_t step) {
    return served_at[step][0][0].item<float>() > -3.9f * std::pow(1.5f, static_cast<float>(step));
  };
  // Searched at 1 and 4; 7 is in the last three steps.
  const std::vector<bool> wanted{false, false, true, true, false, true, true, true, true, true};
  for (size_t step = 0; step < 10; ++step) EXPECT_EQ(clips(step), wanted[step]) << step;
}

TEST(FakeQuant, ARunThatGoesOnServesTheSameBits) {
  const at::Tensor start = at::randn({4, 64});
  for (const int64_t cut : {1, 2, 3, 4, 5, 8}) {
    const FakeQuantOptions options{.start_step = 2, .refresh_steps = 3, .freeze_share = 0.2};
    DoublingRun whole(start, options), before(start, options);
    const auto wanted = whole.steps(0, 10);
    before.steps(0, cut);
    DoublingRun after(start, options);
    // As it stood after the last step, then with what that step left.
    after.weight->begin_step({cut - 1, 10}, nullptr);
    const auto kept = tensors_of(*before.weight), anew = tensors_of(*after.weight);
    EXPECT_EQ(kept.size(), anew.size());
    for (const auto& [name, tensor] : kept) anew.at(name)->copy_(*tensor);
    const auto got = after.steps(cut, 10);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(same_bits(got[i], wanted[static_cast<size_t>(cut) + i])) << cut << " + " << i;
  }
}

TEST(FakeQuant, WhatDoesNotFitIsRefusedByName) {
  const auto message = [](int64_t columns, const std::string& grid, FakeQuantOptions options) {
    try {
      FakeQuantWeight("layer.q_proj", at::zeros({2, columns}), make_grid(grid, ""), options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const std::string blocks = message(96, "int4_g64", {});
  EXPECT_NE(blocks.find("layer.q_proj"), std::string::npos);
  EXPECT_NE(blocks.find("96"), std::string::npos);
  EXPECT_NE(message(128, "torchao:int4wo", {.scales = ScaleMode::learned}).find("cannot be"),
            std::string::npos);
}

}  // namespace
}  // namespace isogrid
