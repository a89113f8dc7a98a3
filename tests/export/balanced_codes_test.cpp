#include "export/balanced_codes.h"

#include <ATen/Context.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "export/registry.h"
#include "models/lut_layers.h"
#include "models/model_output.h"
#include "quant/lut_balanced.h"
#include "tests/export/small_model.h"
#include "tests/models/lut_folder.h"

namespace isogrid {
namespace {

/// A folder whose linears stand on balanced levels of so many bits, rows in whole blocks.
std::string balanced_folder(const TemporaryDirectory& directory, int64_t bits, bool half) {
  Json config = test::small_config("qwen3");
  config["hidden_size"] = 256;
  config["num_hidden_layers"] = 2;
  config["num_attention_heads"] = 4;
  config["head_dim"] = 64;
  const std::string dense = test::write_small_model(directory, config);
  const ModelFolder folder = open_model_folder(dense);
  CausalLm model = load_model(folder, {});
  LutConfig lut;
  lut.lut_parameters = "balanced";
  lut.lut_mlp_bits = lut.lut_attention_bits = bits;
  lut.lut_ste_fp16 = half;
  start_lut_layers(model, planned_lut_layers(model, lut), lut, 1, [](int64_t) {});
  const auto stored = std::make_shared<const WeightIndex>(open_weights(*folder.files));
  const std::string path = directory / "balanced";
  test::write_folder(model_files(model, folder, stored, {}, 5), path);
  return path;
}

class BalancedCodes : public testing::TestWithParam<int64_t> {};

TEST_P(BalancedCodes, AreTheBlocksOfAGgufFileThatDecodeToTheServedWeights) {
  const TemporaryDirectory directory;
  const std::string path = balanced_folder(directory, GetParam(), /*half=*/true);
  ExportSource source = open_export_source(path, {});
  ASSERT_NE(source.codes, nullptr);
  const std::string file = directory / "out.gguf";
  write_gguf_file(source, GetParam() == 2 ? "q2_k" : "q4_k_m", file);
  CausalLm written = load_model(open_model_folder(file), {});
  std::map<std::string, at::Tensor> found;
  visit_linears(written, [&](const std::string& name, Linear& linear) {
    found[name] = whole_weight(*linear.weight, at::kFloat, at::kCPU).clone();
  });
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    EXPECT_TRUE(whole_weight(*linear.weight, at::kFloat, at::kCPU).equal(found.at(name))) << name;
  });
}

TEST_P(BalancedCodes, FitOnlyTheMixOfTheirBits) {
  const TemporaryDirectory directory;
  const ExportSource source =
      open_export_source(balanced_folder(directory, GetParam(), /*half=*/true), {});
  EXPECT_EQ(holds_balanced_codes(*source.codes, *find_gguf_mix("q2_k")), GetParam() == 2);
  EXPECT_EQ(holds_balanced_codes(*source.codes, *find_gguf_mix("q4_k_m")), GetParam() == 4);
  EXPECT_FALSE(holds_balanced_codes(*source.codes, *find_gguf_mix("q8_0")));
}

INSTANTIATE_TEST_SUITE_P(Bits, BalancedCodes, testing::Values(2, 4));

TEST(BalancedCodes, OfScalesBetweenTheNumbersOfFloat16AreNone) {
  const TemporaryDirectory directory;
  EXPECT_EQ(open_export_source(balanced_folder(directory, 2, /*half=*/false), {}).codes, nullptr);
}

// A scale of 0.75 under codes 0 1 2 3: -1.125 -0.375 0.375 1.125.
TEST(BalancedCodes, OfOneBlockAreWhatOneWorksOutByHand) {
  const at::Tensor latent = at::zeros({1, 256});
  for (int64_t i = 0; i < 256; ++i) latent[0][i] = 0.75 * (static_cast<double>(i % 4) - 1.5);
  // clip * 1.125 / 2 = 0.75
  const at::Tensor raw = at::full({1}, raw_of_clip(0.75 * 2 / 1.125), at::kDouble).to(at::kFloat);
  CausalLm model;
  model.blocks.resize(1);
  Linear linear;
  linear.weight = std::make_shared<BalancedWeight>(latent, raw, 2, /*half=*/true);
  Block& block = model.blocks[0];
  block.qkv.linears.resize(3);
  block.output.linears.resize(1);
  block.gate_up.linears.resize(2);
  block.down.linears = {linear};
  const auto codes = balanced_codes(model);
  ASSERT_NE(codes, nullptr);
  ASSERT_EQ(codes->weights.size(), 1u);
  const TrainedWeight& blocks = codes->weights.begin()->second;
  EXPECT_TRUE(blocks.decoded().equal(latent));
  const uint8_t* bytes = blocks.records.const_data_ptr<uint8_t>();
  EXPECT_EQ(bytes[0], 0x32);                      // minimum 3, scale 2
  EXPECT_EQ(bytes[16], 0b00000000);               // codes of weights 0, 32, 64, 96
  EXPECT_EQ(bytes[17], 0b01010101);               // of 1, 33, 65, 97
  EXPECT_EQ(bytes[80] | bytes[81] << 8, 0x3600);  // 0.375
}

}  // namespace
}  // namespace isogrid
