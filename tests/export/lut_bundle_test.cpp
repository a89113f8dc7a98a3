#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <gtest/gtest.h>

#include "core/json.h"
#include "export/lut_check.h"
#include "export/registry.h"
#include "quant/lut_v2.h"
#include "tests/core/refusal.h"
#include "tests/models/lut_folder.h"

namespace isogrid {
namespace {

class LutBundle : public testing::Test {
 protected:
  std::string bundle_of(const std::string& parameters) {
    ExportSource source = open_export_source(test::lut_folder_at(directory_, parameters), {});
    return bundle_of(source);
  }
  std::string bundle_of(ExportSource& source) {
    write_lut(source, {.format = "lut",
                       .variant = "fp16",
                       .directory = directory_ / "bundle",
                       .config = &config_});
    return directory_ / "bundle";
  }
  static std::map<std::string, at::Tensor> tensors(const std::string& path) {
    std::map<std::string, at::Tensor> all;
    for (const NamedTensor& each : read_tensors(path)) all[each.name] = each.tensor;
    return all;
  }

  TemporaryDirectory directory_;
  ExportConfig config_;
};

TEST_F(LutBundle, ServesTheVeryWeightsOfTheTraining) {
  const std::string path = bundle_of("v2");
  CausalLm before = load_model(open_model_folder(directory_ / "lut"), {});
  CausalLm after = load_model(open_model_folder(path), {});
  std::map<std::string, at::Tensor> wanted;
  visit_linears(before, [&](const std::string& name, Linear& linear) {
    wanted[name] = whole_weight(*linear.weight, at::kFloat, at::kCPU).clone();
  });
  visit_linears(after, [&](const std::string& name, Linear& linear) {
    EXPECT_TRUE(whole_weight(*linear.weight, at::kFloat, at::kCPU).equal(wanted[name])) << name;
  });
}

TEST_F(LutBundle, HoldsFactorsInFloat16AndTheCodesAsTheyWere) {
  const auto bundle = tensors(bundle_of("v2") + "/model.safetensors");
  const auto trained = tensors(directory_ / "lut/model.safetensors");
  const std::string name = "model.layers.0.mlp.up_proj";
  for (const char* part : {".lut", ".scale_A", ".scale_B", ".rank_magnitude"})
    EXPECT_EQ(bundle.at(name + part).scalar_type(), at::kHalf) << part;
  EXPECT_TRUE(bundle.at(name + ".codes").equal(trained.at(name + ".codes")));
  EXPECT_TRUE(bundle.at(name + ".rank_magnitude").eq(1).all().item<bool>());
  const Json config = Json::parse(file_content(directory_ / "bundle/config.json"));
  EXPECT_EQ(config["quantization_config"]["layers"][name]["baked"], true);
  EXPECT_EQ(config["quantization_config"]["version"], 1);
}

TEST_F(LutBundle, HasVectorsThatItsOwnLayersReproduce) {
  const std::string path = bundle_of("v2");
  CausalLm model = load_model(open_model_folder(path), {});
  EXPECT_TRUE(has_lut_check(path));
  EXPECT_EQ(check_lut_vectors(model, path), 13);
  const auto vectors = tensors(path + "/check/vectors.safetensors");
  const std::string name = "model.layers.0.mlp.down_proj";
  visit_linears(model, [&](const std::string& each, Linear& linear) {
    if (each != name) return;
    const at::Tensor weight = whole_weight(*linear.weight, at::kDouble, at::kCPU);
    const at::Tensor x = vectors.at(name + ".input").to(at::kDouble);
    EXPECT_TRUE(at::mm(x, weight.t()).allclose(vectors.at(name + ".output").to(at::kDouble), 1e-6));
    EXPECT_TRUE(vectors.at(name + ".output_half")
                    .to(at::kDouble)
                    .allclose(at::mm(x, weight.t()), 2e-2, 2e-2));
  });
  // A layer that serves something else is found out.
  visit_linears(model, [&](const std::string& each, Linear& linear) {
    if (each != name) return;
    auto& v2 = dynamic_cast<LutV2Weight&>(*linear.weight);
    v2.parts().a = v2.parts().a * 1.01;
  });
  expect_refusal([&] { check_lut_vectors(model, path); }, ExitCode::refused_input, name);
}

TEST_F(LutBundle, LeavesTheModelItWasMadeOfAsItWas) {
  ExportSource source = open_export_source(test::lut_folder_at(directory_, "v2"), {});
  bundle_of(source);
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    const auto* v2 = dynamic_cast<const LutV2Weight*>(linear.weight.get());
    if (v2 != nullptr) {
      EXPECT_FALSE(v2->parts().baked) << name;
    }
  });
}

TEST_F(LutBundle, RefusesWhatFloat16CannotHold) {
  ExportSource source = open_export_source(test::lut_folder_at(directory_, "v2"), {});
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    if (name != "model.layers.1.mlp.up_proj") return;
    auto& v2 = dynamic_cast<LutV2Weight&>(*linear.weight);
    v2.parts().g = v2.parts().g * 1e9;
  });
  expect_refusal([&] { bundle_of(source); }, ExitCode::numeric,
                 "model.layers.1.mlp.up_proj.scale_A");
}

TEST_F(LutBundle, RefusesLayersOfOtherFormsAndModelsWithoutAny) {
  expect_refusal([&] { bundle_of("v1"); }, ExitCode::configuration, "--to v2");
  ExportSource dense = open_export_source(directory_ / "dense", {});
  expect_refusal([&] { bundle_of(dense); }, ExitCode::configuration, "no look-up-table layers");
}

}  // namespace
}  // namespace isogrid
