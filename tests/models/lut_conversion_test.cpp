#include "models/lut_conversion.h"

#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/core/refusal.h"
#include "tests/models/lut_folder.h"

namespace isogrid {
namespace {

constexpr auto kQuiet = [](int64_t) {};

std::map<std::string, at::Tensor> served(CausalLm& model) {
  std::map<std::string, at::Tensor> weights;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    weights[name] = whole_weight(*linear.weight, at::kFloat, at::kCPU).clone();
  });
  return weights;
}

std::vector<LutChange> change(CausalLm& model, const LutConfig& config,
                              const std::optional<std::string>& form, const LutLayers& stored,
                              LutConversion conversion = {}) {
  conversion.config = config;
  return convert_lut_layers(model, converted_lut_layers(model, stored, config, form), conversion,
                            kQuiet);
}

LutLayers layers_of(const TemporaryDirectory& directory, const std::string& parameters) {
  return stored_lut_layers(open_model_folder(test::lut_folder_at(directory, parameters)));
}

TEST(LutConversion, OfV1KeepsItsFactors) {
  const TemporaryDirectory directory;
  const LutLayers stored = layers_of(directory, "v1");
  CausalLm model = test::lut_model(directory / "dense", "v1");
  const auto before = served(model);
  LutConfig config;
  config.lut_ste_fp16 = false;
  const auto changes = change(model, config, "v2", stored);
  EXPECT_EQ(changes.size(), stored.size());
  EXPECT_EQ(changes[0].from, "v1, 4 bits, rank 3");
  EXPECT_EQ(changes[0].to, "v2, 4 bits, rank 3");
  for (const LutChange& each : changes) EXPECT_LE(each.error, 1e-9) << each.linear;
  const auto after = served(model);
  for (const auto& [name, weight] : before)
    EXPECT_TRUE(after.at(name).allclose(weight, 1e-4, 1e-6)) << name;
}

TEST(LutConversion, LeavesWhatIsAlreadySoAsItIs) {
  const TemporaryDirectory directory;
  const LutLayers stored = layers_of(directory, "v2");
  CausalLm model = test::lut_model(directory / "dense", "v2");
  std::map<std::string, const WeightSource*> before;
  visit_linears(
      model, [&](const std::string& name, Linear& linear) { before[name] = linear.weight.get(); });
  for (const LutChange& each : change(model, {}, "v2", stored)) EXPECT_EQ(each.error, 0);
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    EXPECT_EQ(linear.weight.get(), before[name]) << name;
  });
}

TEST(LutConversion, NarrowsToThePresetAndFitsWhatItIsToldToStandFor) {
  const TemporaryDirectory directory;
  layers_of(directory, "v2");
  LutConfig four;
  four.lut_mlp_bits = four.lut_attention_bits = 4;
  four.lut_mlp_rank = four.lut_attention_rank = 3;
  CausalLm start = load_model(open_model_folder(directory / "dense"), {});
  const auto dense = served(start);
  change(start, four, {}, {});
  LutLayers stored;
  visit_linears(start, [&](const std::string& name, Linear&) { stored[name] = {"v2", 4, 3}; });
  LutConfig two = four;
  two.lut_mlp_bits = 2;
  two.lut_mlp_rank = 6;
  for (const bool knows_original : {false, true}) {
    CausalLm model = start;
    LutConversion conversion;
    if (knows_original) conversion.wanted = [&](const std::string& name) { return dense.at(name); };
    const auto changes = change(model, two, {}, stored, conversion);
    for (const LutChange& each : changes) {
      const bool mlp = each.linear.find(".mlp.") != std::string::npos;
      EXPECT_EQ(each.from, "v2, 4 bits, rank 3");
      EXPECT_EQ(each.to, mlp ? "v2, 2 bits, rank 6" : "v2, 4 bits, rank 3");
      if (mlp) {
        EXPECT_LT(each.error, 0.2) << each.linear;
      } else if (!knows_original) {
        EXPECT_EQ(each.error, 0);
      }
    }
  }
}

TEST(LutConversion, MakesEveryFormOfEveryOther) {
  const TemporaryDirectory directory;
  const LutLayers stored = layers_of(directory, "v2");
  for (const char* from : {"v2", "v1", "balanced"})
    for (const char* to : {"v2", "v1", "balanced"}) {
      CausalLm model = test::lut_model(directory / "dense", from);
      LutLayers there = stored;
      for (auto& [name, layer] : there) {
        layer.parameters = from;
        if (std::string(from) == "balanced") layer.rank = 0;
      }
      LutConfig config;
      if (std::string(from) == "balanced" && std::string(to) != "balanced") {
        config.lut_mlp_bits = 2;
        config.lut_attention_bits = 4;
        config.lut_mlp_rank = config.lut_attention_rank = 4;
      }
      for (const LutChange& each : change(model, config, to, there))
        EXPECT_LT(each.error, 0.5) << from << " " << to << " " << each.linear;
      visit_linears(model, [&](const std::string& name, Linear& linear) {
        if (there.count(name) > 0) {
          EXPECT_EQ(lut_parameters(*linear.weight), to) << name;
        }
      });
    }
}

TEST(LutConversion, WithoutARankIsRefused) {
  const TemporaryDirectory directory;
  const LutLayers stored = layers_of(directory, "balanced");
  CausalLm model = test::lut_model(directory / "dense", "balanced");
  expect_refusal([&] { change(model, {}, "v2", stored); }, ExitCode::configuration,
                 "has no rank yet");
}

TEST(LutConversion, OfAnotherModelIsRefused) {
  const TemporaryDirectory directory;
  const LutLayers stored = layers_of(directory, "v2");
  CausalLm model = test::lut_model(directory / "dense", "v2");
  LutConversion conversion;
  conversion.wanted = [](const std::string&) { return at::ones({3, 4}); };
  expect_refusal([&] { change(model, {}, "v2", stored, conversion); }, ExitCode::configuration,
                 "3 x 4");
}

}  // namespace
}  // namespace isogrid
