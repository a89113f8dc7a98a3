#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <map>

#include "models/lut_training.h"
#include "models/rounding.h"
#include "tests/core/refusal.h"
#include "tests/models/lut_folder.h"
#include "tests/trainer/small_training.h"
#include "trainer/fit_mlps.h"
#include "trainer/open_lut.h"
#include "trainer/open_training.h"

namespace isogrid {
namespace {

RunConfig lut_run_config(const std::string& model) {
  RunConfig config;
  config.model.model_name_or_path = model;
  config.finetuning.finetuning_type = "full";
  config.run.compute_dtype = "float32";
  config.run.device = "cpu";
  config.optimizer.learning_rate = 1e-2;
  config.lut.lut_mlp_bits = 2;
  config.lut.lut_mlp_rank = 5;
  config.lut.lut_attention_bits = 4;
  config.lut.lut_attention_rank = 3;
  config.lut.lut_init = "mse";
  return config;
}

OpenedTraining opened_run(const RunConfig& config) {
  OpenedTraining opened =
      open_training(config, open_model_folder(*config.model.model_name_or_path));
  opened.training.schedule = {.shape = "constant", .highest = 1e-2, .total = 10};
  return opened;
}

void run_steps(Training& training, int64_t first, int64_t last) {
  ExampleStore store;
  const BatchStream batches(test::small_rows(store, {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}),
                            {.rows_per_micro_batch = 4, .micro_batches_per_step = 1});
  for (int64_t step = first; step < last; ++step) {
    begin_step(training.model, {step, last});
    watch_magnitudes(training, step);
    ASSERT_TRUE(run_step(training, batches, step).updated);
  }
}

std::map<std::string, at::Tensor> served_by(CausalLm& model, at::ScalarType type) {
  std::map<std::string, at::Tensor> weights;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    weights[name] = whole_weight(*linear.weight, type, at::kCPU).clone();
  });
  return weights;
}

struct LutRunCase {
  const char* name;
  const char* parameters;
  std::vector<std::string> train;
  bool bf16;
};

class LutRunOf : public testing::TestWithParam<LutRunCase> {};

TEST_P(LutRunOf, PublishesTheWeightsItTrainedBitForBit) {
  const TemporaryDirectory directory;
  RunConfig config = lut_run_config(test::dense_folder(directory, at::kBFloat16));
  config.lut.lut_parameters = GetParam().parameters;
  config.lut.lut_train = GetParam().train;
  config.training.bf16 = GetParam().bf16;
  OpenedTraining opened = opened_run(config);
  const auto before = served_by(opened.training.model, at::kFloat);
  run_steps(opened.training, 0, 4);
  test::write_folder(publication_files(opened.training, opened.publication), directory / "out");
  const auto type = GetParam().bf16 ? at::kBFloat16 : at::kFloat;
  LoadOptions options;
  options.compute = type;
  CausalLm read = load_model(open_model_folder(directory / "out"), options);
  const auto wanted = served_by(opened.training.model, type), found = served_by(read, type);
  bool moved = false;
  for (const auto& [name, weight] : wanted) {
    EXPECT_TRUE(found.at(name).equal(weight)) << name;
    moved = moved || !weight.to(at::kFloat).equal(before.at(name));
  }
  EXPECT_TRUE(moved);
}

INSTANTIATE_TEST_SUITE_P(
    EveryForm, LutRunOf,
    testing::Values(LutRunCase{"V2Scales", "v2", {"scales"}, false},
                    LutRunCase{"V2TableInBf16", "v2", {"scales", "table", "norms"}, true},
                    LutRunCase{"V1Weights", "v1", {"weights"}, false},
                    LutRunCase{"V1Everything", "v1", {"scales", "table", "weights"}, true},
                    LutRunCase{"Balanced", "balanced", {"scales", "weights"}, true}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(LutRuns, TheAverageIsPublishedWithItsOwnTable) {
  const TemporaryDirectory directory;
  RunConfig config = lut_run_config(test::dense_folder(directory));
  config.lut.lut_train = {"scales", "table"};
  config.optimizer.ema_decay = 0.5;
  OpenedTraining opened = opened_run(config);
  run_steps(opened.training, 0, 4);
  test::write_folder(publication_files(opened.training, opened.publication), directory / "out");
  CausalLm read = load_model(open_model_folder(directory / "out"), {});
  at::Tensor& master = opened.training.trainables.master;
  master.copy_(opened.training.average);
  const auto wanted = served_by(opened.training.model, at::kFloat);
  const auto found = served_by(read, at::kFloat);
  for (const auto& [name, weight] : wanted) EXPECT_TRUE(found.at(name).equal(weight)) << name;
}

TEST(LutRuns, GoOnFromTheirOwnFolderAndKeepItsForm) {
  const TemporaryDirectory directory;
  RunConfig config = lut_run_config(test::lut_folder_at(directory, "v1"));
  config.lut = LutConfig{};
  OpenedTraining opened = opened_run(config);
  run_steps(opened.training, 0, 1);
  test::write_folder(publication_files(opened.training, opened.publication), directory / "out");
  const ModelFolder out = open_model_folder(directory / "out");
  EXPECT_EQ(stored_lut_layers(out).at("model.layers.0.mlp.up_proj").parameters, "v1");
}

TEST(LutRuns, SettingsThatWouldDoNothingAreRefused) {
  const TemporaryDirectory directory;
  const std::string tables = test::lut_folder_at(directory, "v2");
  RunConfig config = lut_run_config(tables);
  config.lut = LutConfig{};
  config.places = {{"lut_train", "run.yaml:3:1"}};
  EXPECT_EQ(lut_run(config, open_model_folder(tables)), LutRun::goes_on);
  config.finetuning.finetuning_type = "lora";
  expect_refusal([&] { lut_run(config, open_model_folder(tables)); }, ExitCode::configuration,
                 "lut_train");
  expect_refusal([&] { lut_run(config, open_model_folder(directory / "dense")); },
                 ExitCode::configuration, "lut_preset");
}

TEST(LutRuns, MlpsFittedFirstGiveMoreOfWhatTheDenseOnesGave) {
  const TemporaryDirectory directory;
  RunConfig config = lut_run_config(test::dense_folder(directory));
  ExampleStore store;
  const BatchStream batches(test::small_rows(store, {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}),
                            {.rows_per_micro_batch = 4, .micro_batches_per_step = 1});
  const ModelFolder folder = open_model_folder(*config.model.model_name_or_path);
  LoadOptions options;
  options.compute = at::kFloat;
  const CausalLm dense = load_model(folder, options);
  // The first MLP sees the same input whatever was fitted, so its error can be compared.
  const at::Tensor x = at::randn({64, 20});
  const auto error = [&](const CausalLm& model) {
    const auto mlp = [&](const CausalLm& of) {
      const auto inner = project(of.blocks[0].gate_up, x);
      return project(of.blocks[0].down, inner[0], inner[1])[0];
    };
    const at::NoGradGuard no_grad;
    return reconstruction_loss(mlp(model), mlp(dense)).item<double>();
  };
  const double plain = error(open_training(config, folder).training.model);
  config.lut.lut_layer_by_layer = true;
  config.lut.lut_train = {"scales", "table"};
  const OpenedTraining fitted = open_training(config, folder, std::nullopt, &batches);
  EXPECT_LT(error(fitted.training.model), 0.9 * plain);
  expect_refusal([&] { open_training(config, folder); }, ExitCode::configuration,
                 "lut_layer_by_layer");
}

// Two rows of (1, 1) against (1, -1): both parts are 2.
TEST(LutRuns, TheReconstructionLossByHand) {
  const at::Tensor wanted = at::tensor({1.0, -1.0, 1.0, -1.0}).reshape({2, 2});
  const at::Tensor y = at::tensor({1.0, 1.0, 1.0, 1.0}).reshape({2, 2});
  EXPECT_NEAR(reconstruction_loss(y, wanted).item<double>(), 2.0, 1e-5);
  // Twice as long in the same direction: the shape agrees, the size is off by its own square.
  EXPECT_NEAR(reconstruction_loss(wanted * 2, wanted).item<double>(), 0.2, 1e-5);
  EXPECT_EQ(reconstruction_loss(wanted, wanted).item<double>(), 0.0);
}

/// Looks at steps 2, 5, 8, ...; settled below a tenth, twice in a row.
class Watching : public testing::Test {
 protected:
  Watching() {
    RunConfig config = lut_run_config(test::dense_folder(directory_));
    config.lut.lut_auto_snap = true;
    config.lut.lut_auto_snap_threshold = 0.1;
    config.lut.lut_auto_snap_start_step = 2;
    config.lut.lut_auto_snap_steps = 3;
    config.optimizer.weight_decay = 0.1;
    opened_ = opened_run(config);
  }
  Training& training() { return opened_.training; }
  std::vector<TensorSlot> magnitudes() { return trained_magnitudes(training().model); }
  void change_by(double factor) {
    const at::NoGradGuard no_grad;
    for (const TensorSlot& slot : magnitudes()) slot.tensor->mul_(factor);
  }

  TemporaryDirectory directory_;
  OpenedTraining opened_;
};

TEST_F(Watching, TheThirdLookIsTheEarliestToSnap) {
  for (int64_t step = 0; step < 8; ++step) EXPECT_FALSE(watch_magnitudes(training(), step)) << step;
  EXPECT_TRUE(watch_magnitudes(training(), 8));
}

TEST_F(Watching, AJumpBeginsTheCountAgain) {
  EXPECT_FALSE(watch_magnitudes(training(), 2));
  change_by(1.05);
  EXPECT_FALSE(watch_magnitudes(training(), 5));
  EXPECT_EQ(training().magnitudes.settled, 1);
  change_by(1.2);
  EXPECT_FALSE(watch_magnitudes(training(), 8));
  EXPECT_EQ(training().magnitudes.settled, 0);
  change_by(0.95);
  EXPECT_FALSE(watch_magnitudes(training(), 11));
  EXPECT_TRUE(watch_magnitudes(training(), 14));
}

TEST_F(Watching, SnappedMagnitudesAreThoseOfFloat16AndStand) {
  change_by(1.0001);
  const std::vector<TensorSlot> watched = magnitudes();
  for (int64_t step : {2, 5, 8}) watch_magnitudes(training(), step);
  ASSERT_TRUE(training().magnitudes.snapped);
  EXPECT_TRUE(magnitudes().empty());
  std::vector<at::Tensor> held;
  for (const TensorSlot& slot : watched) {
    held.push_back(slot.tensor->detach().clone());
    EXPECT_TRUE(held.back().equal(held.back().to(at::kHalf).to(at::kFloat)));
  }
  const auto before = served_by(training().model, at::kFloat);
  run_steps(training(), 9, 12);
  for (size_t i = 0; i < watched.size(); ++i)
    EXPECT_TRUE(watched[i].tensor->detach().equal(held[i]));
  EXPECT_FALSE(
      served_by(training().model, at::kFloat).begin()->second.equal(before.begin()->second));
}

}  // namespace
}  // namespace isogrid
