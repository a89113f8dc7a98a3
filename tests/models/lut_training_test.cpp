#include "models/lut_training.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/error.h"
#include "models/lut_layers.h"
#include "tests/core/refusal.h"
#include "tests/models/lut_folder.h"

namespace isogrid {
namespace {

constexpr const char* kUp = "model.layers.0.mlp.up_proj";
constexpr const char* kQuery = "model.layers.0.self_attn.q_proj";

LutConfig odd_config() {
  LutConfig config;
  config.lut_mlp_bits = 2;
  config.lut_mlp_rank = 5;
  config.lut_attention_bits = 4;
  config.lut_attention_rank = 3;
  config.lut_init = "mse";
  return config;
}

CausalLm opened_dense(const TemporaryDirectory& directory) {
  LoadOptions options;
  options.compute = at::kFloat;
  return load_model(open_model_folder(test::dense_folder(directory)), options);
}

CausalLm started(const TemporaryDirectory& directory, const LutConfig& config) {
  CausalLm model = opened_dense(directory);
  start_lut_layers(model, planned_lut_layers(model, config), config, 1, [](int64_t) {});
  set_lut_schedule(model, config, std::nullopt);
  return model;
}

std::set<std::string> trained_names(CausalLm& model, const std::string& linear) {
  std::set<std::string> names;
  model.visit([&](const TensorSlot& slot) {
    if (slot.name.starts_with(linear + ".") && slot.tensor->requires_grad())
      names.insert(slot.name.substr(linear.size()));
  });
  return names;
}

/// What a setting lets train in an MLP and in attention, written out.
struct Selection {
  const char* name;
  std::vector<std::string> train;
  const char* families;
  const char* frozen_magnitudes;
  std::set<std::string> mlp, attention;
};

const std::set<std::string> kScales = {".scale_A", ".scale_B", ".rank_magnitude"};
const std::set<std::string> kDirections = {".scale_A", ".scale_B"};
const Selection kSelections[] = {
    {"Scales", {"scales"}, "all", "none", kScales, kScales},
    {"MagnitudesAlone", {"magnitudes"}, "all", "none", {".rank_magnitude"}, {".rank_magnitude"}},
    {"TheMlpAlone", {"scales"}, "mlp", "none", kScales, {}},
    {"AttentionAlone", {"scales"}, "attention", "none", {}, kScales},
    {"WithoutMagnitudes", {"scales"}, "all", "all", kDirections, kDirections},
    {"WithoutThoseOfTheMlp", {"scales"}, "all", "mlp", kDirections, kScales},
    {"ATable", {"table"}, "all", "none", {".lut_logits"}, {".lut_logits"}},
    {"MagnitudesAndTable",
     {"magnitudes", "table"},
     "mlp",
     "attention",
     {".rank_magnitude", ".lut_logits"},
     {}},
};

class LutSelection : public testing::TestWithParam<Selection> {};

TEST_P(LutSelection, LetsTrainWhatItSays) {
  const Selection& wanted = GetParam();
  const TemporaryDirectory directory;
  LutConfig config = odd_config();
  config.lut_train = wanted.train;
  config.lut_families = wanted.families;
  config.lut_freeze_magnitudes = wanted.frozen_magnitudes;
  CausalLm model = started(directory, config);
  train_lut_layers(model, config);
  EXPECT_EQ(trained_names(model, kUp), wanted.mlp);
  EXPECT_EQ(trained_names(model, kQuery), wanted.attention);
  EXPECT_FALSE(model.embedding->trains());

  // And the plan made before anything is loaded counts just that.
  int64_t trained = 0;
  model.visit([&](const TensorSlot& slot) {
    if (slot.tensor->requires_grad()) trained += slot.tensor->numel();
  });
  CausalLm structure = build_model(model.config);
  const LutSizes sizes = lut_sizes(structure, planned_lut_layers(structure, config), config);
  EXPECT_EQ(sizes.trained, trained);
}

INSTANTIATE_TEST_SUITE_P(Each, LutSelection, testing::ValuesIn(kSelections),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(LutTraining, NormsAreThoseOfTheResidualStream) {
  LutConfig config;
  config.lut_train = {"norms"};
  for (const char* trained : {"model.norm.weight", "model.layers.3.input_layernorm.weight",
                              "model.layers.0.post_attention_layernorm.weight"})
    EXPECT_TRUE(trains_lut_norm(config, trained)) << trained;
  EXPECT_FALSE(trains_lut_norm(config, "model.layers.0.self_attn.q_norm.weight"));
  config.lut_train = {"scales"};
  EXPECT_FALSE(trains_lut_norm(config, "model.norm.weight"));
}

TEST(LutTraining, NothingToTrainIsRefused) {
  const TemporaryDirectory directory;
  LutConfig config = odd_config();
  config.lut_train = {"magnitudes"};
  config.lut_freeze_magnitudes = "all";
  CausalLm model = started(directory, config);
  expect_refusal([&] { train_lut_layers(model, config); }, ExitCode::configuration, "lut_train");
}

TEST(LutTraining, WeightsBehindCodesThatStandAreRefused) {
  const TemporaryDirectory directory;
  LutConfig config = odd_config();
  config.lut_train = {"weights"};
  CausalLm model = started(directory, config);
  expect_refusal([&] { train_lut_layers(model, config); }, ExitCode::configuration,
                 "lut_recode_steps");
}

TEST(LutLayers, SizesThatCannotBeAreRefusedByName) {
  const TemporaryDirectory directory;
  CausalLm model = opened_dense(directory);
  const auto refused = [&](const LutConfig& config, const char* word) {
    expect_refusal([&] { planned_lut_layers(model, config); }, ExitCode::configuration, word);
  };
  LutConfig config = odd_config();
  config.lut_mlp_rank = 21;  // of 37 x 20
  refused(config, "lut_mlp_rank");
  refused(config, "model.layers.0.mlp");
  config = odd_config();
  config.lut_attention_bits = 3;
  refused(config, "lut_attention_bits: came 3");
  config = odd_config();
  config.lut_attention_rank.reset();
  refused(config, "lut_attention_rank");
  config = LutConfig{};
  config.lut_preset = "q9a9";
  refused(config, "q2a4");
}

TEST(LutLayers, APresetGivesWhatIsNotSaidBesideIt) {
  const TemporaryDirectory directory;
  CausalLm model = opened_dense(directory);
  LutConfig config;
  config.lut_preset = "q2a4";
  config.lut_mlp_rank = 6;
  const LutLayers layers = planned_lut_layers(model, config);
  EXPECT_EQ(layers.at(kUp).bits, 2);
  EXPECT_EQ(layers.at(kUp).rank, 6);
  EXPECT_EQ(layers.at(kQuery).bits, 4);
  EXPECT_EQ(layers.at(kQuery).rank, 8);
  EXPECT_EQ(layers.size(), 14u);
}

TEST(LutLayers, AFamilyWithoutBitsStaysDense) {
  const TemporaryDirectory directory;
  LutConfig config = odd_config();
  config.lut_attention_bits.reset();
  CausalLm model = started(directory, config);
  visit_linears(model, [](const std::string& name, Linear& linear) {
    EXPECT_EQ(lut_parameters(*linear.weight), is_mlp(name) ? "v2" : "") << name;
  });
}

TEST(LutLayers, AreTheSameHoweverManyThreadsMakeThem) {
  const TemporaryDirectory directory;
  LutConfig config = odd_config();
  config.lut_init = "als";
  const int threads = at::get_num_threads();
  std::map<std::string, at::Tensor> one;
  for (const int count : {1, 2}) {
    at::set_num_threads(count);
    CausalLm model = started(directory, config);
    visit_linears(model, [&](const std::string& name, Linear& linear) {
      const at::Tensor weight = whole_weight(*linear.weight, at::kFloat, at::kCPU).clone();
      if (count == 1)
        one[name] = weight;
      else
        EXPECT_TRUE(weight.equal(one.at(name))) << name;
    });
  }
  at::set_num_threads(threads);
}

}  // namespace
}  // namespace isogrid
