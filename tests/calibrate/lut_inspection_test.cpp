#include "calibrate/lut_inspection.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/models/lut_folder.h"

namespace isogrid {
namespace {

Batch some_tokens() {
  Batch batch;
  for (int64_t i = 0; i < 24; ++i) batch.input_ids.push_back(i * 7 % 61);
  batch.document_ends = {10, 24};
  return batch;
}

class LutInspection : public testing::TestWithParam<const char*> {};

TEST_P(LutInspection, TellsErrorsAndUseOfEveryLayer) {
  const TemporaryDirectory directory;
  test::dense_folder(directory);
  CausalLm model = test::lut_model(directory / "dense", GetParam());
  CausalLm dense = load_model(open_model_folder(directory / "dense"), {});
  const OriginalWeight original = [&](const std::string& name) {
    at::Tensor weight;
    visit_linears(dense, [&](const std::string& each, Linear& linear) {
      if (each == name) weight = whole_weight(*linear.weight, at::kFloat, at::kCPU);
    });
    return weight;
  };
  const auto figures = lut_layer_figures(model, {some_tokens()}, original);
  ASSERT_EQ(figures.size(), 13u);  // one of the fourteen is dense
  for (const LutLayerFigures& layer : figures) {
    EXPECT_EQ(layer.form, GetParam());
    ASSERT_EQ(layer.usage.size(), size_t{1} << layer.bits);
    EXPECT_NEAR(std::accumulate(layer.usage.begin(), layer.usage.end(), 0.0), 1, 1e-9);
    EXPECT_GT(layer.entropy, 1);
    EXPECT_LE(layer.entropy, layer.bits + 1e-9);
    EXPECT_NEAR(layer.outermost, layer.usage.front() + layer.usage.back(), 1e-12);
    ASSERT_TRUE(layer.weight_error && layer.output_error) << layer.linear;
    EXPECT_GT(*layer.weight_error, 1e-4);
    EXPECT_LT(*layer.weight_error, 0.5);
    EXPECT_LT(*layer.output_error, 0.6);
    EXPECT_GT(*layer.output_error, 1e-5);
  }
}
INSTANTIATE_TEST_SUITE_P(EveryForm, LutInspection, testing::Values("v2", "v1", "balanced"));

TEST(LutInspectionOf, AModelWithoutAnOriginalTellsUseAlone) {
  const TemporaryDirectory directory;
  test::dense_folder(directory);
  CausalLm model = test::lut_model(directory / "dense", "v2");
  for (const LutLayerFigures& layer : lut_layer_figures(model, {}, {})) {
    EXPECT_FALSE(layer.weight_error || layer.output_error);
    EXPECT_EQ(layer.usage.size(), size_t{1} << layer.bits);
  }
}

TEST(LutInspectionOf, TheModelItselfFindsNoError) {
  const TemporaryDirectory directory;
  test::dense_folder(directory);
  CausalLm model = test::lut_model(directory / "dense", "v2");
  const auto figures = lut_layer_figures(model, {some_tokens()}, [&](const std::string& name) {
    at::Tensor weight;
    visit_linears(model, [&](const std::string& each, Linear& linear) {
      if (each == name) weight = whole_weight(*linear.weight, at::kFloat, at::kCPU);
    });
    return weight;
  });
  for (const LutLayerFigures& layer : figures) {
    EXPECT_EQ(*layer.weight_error, 0);
    EXPECT_EQ(*layer.output_error, 0);
  }
}

}  // namespace
}  // namespace isogrid
