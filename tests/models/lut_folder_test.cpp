#include "tests/models/lut_folder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "core/error.h"
#include "core/json.h"
#include "quant/lut_folder.h"
#include "tests/core/refusal.h"

namespace isogrid {
namespace {

std::map<std::string, at::Tensor> served_linears(CausalLm& model) {
  std::map<std::string, at::Tensor> weights;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    weights[name] = whole_weight(*linear.weight, at::kFloat, at::kCPU).clone();
  });
  return weights;
}

class LutFolderOf : public testing::TestWithParam<const char*> {};

TEST_P(LutFolderOf, ServesTheWeightsItWasWrittenFromBitForBit) {
  const TemporaryDirectory directory;
  const std::string path = test::lut_folder_at(directory, GetParam());
  CausalLm before = test::lut_model(directory / "dense", GetParam());
  CausalLm after = load_model(open_model_folder(path), {});
  EXPECT_EQ(after.compute, at::kFloat);
  const auto wanted = served_linears(before), found = served_linears(after);
  for (const auto& [name, weight] : wanted) EXPECT_TRUE(found.at(name).equal(weight)) << name;
  EXPECT_EQ(parameter_count(after), parameter_count(before));
}

TEST_P(LutFolderOf, IsWrittenAgainByteForByte) {
  const TemporaryDirectory directory;
  const ModelFolder folder = open_model_folder(test::lut_folder_at(directory, GetParam()));
  CausalLm model = load_model(folder, {});
  const auto stored = std::make_shared<const WeightIndex>(open_weights(*folder.files));
  test::write_folder(model_files(model, folder, stored, {}, 5), directory / "again");
  for (const char* name : {"config.json", "model.safetensors"})
    EXPECT_EQ(file_content(directory / ("again/" + std::string(name))),
              file_content(directory / ("lut/" + std::string(name))))
        << name;
}

INSTANTIATE_TEST_SUITE_P(EveryForm, LutFolderOf, testing::Values("v2", "v1", "balanced"),
                         [](const auto& each) { return std::string(each.param); });

/// Two rows of three columns in 2 bits, rank 1, every number chosen by hand.
struct HandMade {
  Json settings = Json::parse(
      R"({"quant_method": "isogrid_lut", "version": 1, "half": false,
          "layers": {"w": {"parameters": "v2", "bits": 2, "rank": 1, "baked": false}}})");
  std::map<std::string, at::Tensor> tensors = {
      // Codes 0 1 2 and 3 3 0, the first code in the lowest bits.
      {"w.codes", at::tensor({0b100100, 0b001111}, at::kByte).reshape({2, 1})},
      {"w.lut", at::tensor({-1.0f, -0.25f, 0.5f, 1.0f})},
      {"w.scale_A", at::tensor({3.0f, 4.0f}).reshape({2, 1})},
      {"w.scale_B", at::tensor({2.0f, 0.0f, 0.0f}).reshape({1, 3})},
      {"w.rank_magnitude", at::tensor({10.0f})},
  };

  std::shared_ptr<WeightSource> read() const {
    return lut_folder(settings, "config.json")->read("w", 2, 3, [&](const std::string& name) {
      const auto found = tensors.find(name);
      return found == tensors.end() ? at::Tensor() : found->second;
    });
  }
  Json& layer() { return settings["layers"]["w"]; }
};

// Directions (3, 4) / 5 and (1, 0, 0): scales 6 and 8 in the first column, 0 elsewhere.
TEST(LutFolder, ReadsCodesTableAndDirections) {
  const at::Tensor weight = whole_weight(*HandMade().read(), at::kFloat, at::kCPU);
  EXPECT_LT((weight - at::tensor({-6.0f, 0.0f, 0.0f, 8.0f, 0.0f, 0.0f}).reshape({2, 3}))
                .abs()
                .max()
                .item<double>(),
            1e-5);
}

/// One thing that makes a good folder a bad one, and a word the message must hold.
struct BadFolder {
  const char* name;
  void (*spoil)(HandMade&);
  const char* word;
};

class BadLutFolder : public testing::TestWithParam<BadFolder> {};

TEST_P(BadLutFolder, IsRefusedByName) {
  HandMade made;
  GetParam().spoil(made);
  expect_refusal([&] { made.read(); }, ExitCode::refused_input, GetParam().word);
}

const BadFolder kBadFolders[] = {
    {"UnknownVersion", [](HandMade& m) { m.settings["version"] = 2; }, "version"},
    {"NoVersion", [](HandMade& m) { m.settings.erase("version"); }, "version"},
    {"NoHalf", [](HandMade& m) { m.settings.erase("half"); }, "half"},
    {"LayersOfAnotherKind", [](HandMade& m) { m.settings["layers"] = 3; }, "layers"},
    {"UnknownForm", [](HandMade& m) { m.layer()["parameters"] = "v3"; }, "v3"},
    {"ThreeBits", [](HandMade& m) { m.layer()["bits"] = 3; }, "bits"},
    {"RankAboveTheShape", [](HandMade& m) { m.layer()["rank"] = 3; }, "rank"},
    {"RankOfOtherTensors", [](HandMade& m) { m.layer()["rank"] = 2; }, "scale_A"},
    {"MissingPart", [](HandMade& m) { m.tensors.erase("w.scale_B"); }, "w.scale_B: missing"},
    {"CodesOfAnotherShape",
     [](HandMade& m) {
       m.tensors["w.codes"] = at::tensor({1, 2}, at::kByte).reshape({1, 2});
     },
     "w.codes"},
    {"CodesOfAnotherType",
     [](HandMade& m) { m.tensors["w.codes"] = m.tensors["w.codes"].to(at::kFloat); }, "w.codes"},
    {"CodesBeyondTheLastColumn", [](HandMade& m) { m.tensors["w.codes"][1][0] = 0b1001111; },
     "unused bits"},
    {"TableOfAnotherSize", [](HandMade& m) { m.tensors["w.lut"] = at::arange(16).to(at::kFloat); },
     "w.lut"},
    {"TableThatDoesNotRise", [](HandMade& m) { m.tensors["w.lut"][2] = -0.25f; }, "must rise"},
    {"TableThatIsNotFinite",
     [](HandMade& m) { m.tensors["w.lut"][3] = std::numeric_limits<float>::infinity(); },
     "not finite"},
    {"ScaleThatIsNotFinite",
     [](HandMade& m) { m.tensors["w.scale_A"][1][0] = std::numeric_limits<float>::quiet_NaN(); },
     "element 1 is not finite"},
    {"MagnitudesOfAnotherRank",
     [](HandMade& m) {
       m.tensors["w.rank_magnitude"] = at::tensor({1.0f, 2.0f});
     },
     "rank_magnitude"},
    {"BakedWithMagnitudes", [](HandMade& m) { m.layer()["baked"] = true; }, "baked"},
    {"BakedV1",
     [](HandMade& m) {
       m.layer()["parameters"] = "v1";
       m.layer()["baked"] = true;
     },
     "baked"},
    {"V1WithoutItsWeight", [](HandMade& m) { m.layer()["parameters"] = "v1"; }, "w.weight"},
    {"BalancedWithoutItsClip",
     [](HandMade& m) {
       m.layer()["parameters"] = "balanced";
       m.tensors["w.weight"] = at::arange(6).to(at::kFloat).reshape({2, 3});
     },
     "w.raw_clip"},
};
INSTANTIATE_TEST_SUITE_P(Each, BadLutFolder, testing::ValuesIn(kBadFolders),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(LutFolder, ALayerThatIsNoLinearOfTheModelIsRefused) {
  const TemporaryDirectory directory;
  const std::string path = test::lut_folder_at(directory, "v2");
  Json config = read_json_file(path + "/config.json");
  config["quantization_config"]["layers"]["model.layers.7.mlp.up_proj"] = {
      {"parameters", "v2"}, {"bits", 2}, {"rank", 1}, {"baked", false}};
  directory.write("lut/config.json", dump_json(config));
  expect_refusal([&] { load_model(open_model_folder(path), {}); }, ExitCode::refused_input,
                 "model.layers.7.mlp.up_proj");
}

TEST(LutFolder, ALayerThatConfigJsonForgetsIsRefused) {
  const TemporaryDirectory directory;
  const std::string path = test::lut_folder_at(directory, "v2");
  Json config = read_json_file(path + "/config.json");
  config["quantization_config"]["layers"].erase("model.layers.0.mlp.up_proj");
  directory.write("lut/config.json", dump_json(config));
  expect_refusal([&] { load_model(open_model_folder(path), {}); }, ExitCode::refused_input,
                 "model.layers.0.mlp.up_proj.weight: missing");
}

}  // namespace
}  // namespace isogrid
