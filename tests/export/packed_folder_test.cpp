#include "export/packed_folder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/json.h"
#include "quant/group_grid.h"
#include "tests/export/small_folder.h"

namespace isogrid {
namespace {

using test::read_back;
using test::written;

constexpr const char* kQuery = "model.layers.0.self_attn.q_proj";
constexpr const char* kUp = "model.layers.0.mlp.up_proj";

/// v[i] = ((37 i + 11) mod 101 - 50) / 256 and the same backwards, then noise.
at::Tensor telling_rows(int64_t outputs, int64_t inputs) {
  at::manual_seed(2);
  at::Tensor weight = (at::rand({outputs, inputs}) - 0.5) / 2;
  for (int64_t i = 0; i < inputs; ++i) {
    const auto value = static_cast<double>((37 * i + 11) % 101 - 50) / 256;
    weight[0][i].fill_(value);
    weight[1][inputs - 1 - i].fill_(value);
  }
  return weight;
}

PackedModel packed_with(ExportSource& source, const GroupRule& rule) {
  PackedModel packed;
  packed.text = "nothing";
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    packed.linears[name] = rounded_to_nearest(
        "gptq", telling_rows(linear.weight->outputs(), linear.weight->inputs()), rule);
  });
  return packed;
}

at::Tensor decoded(const PackedGroupParts& parts, at::ScalarType type) {
  return whole_weight(PackedGroupWeight(parts), type, at::kCPU);
}

uint32_t word(const at::Tensor& words, int64_t row, int64_t column) {
  return static_cast<uint32_t>(words[row][column].item<int32_t>());
}

void expect_read_back(const TemporaryDirectory& directory, const PackedModel& packed) {
  for (const auto& [name, parts] : packed.linears)
    for (const auto type : {at::kFloat, at::kBFloat16})
      EXPECT_TRUE(read_back(directory, name, type).equal(decoded(parts, type))) << name;
}

class PackedExport : public testing::Test {
 protected:
  TemporaryDirectory directory;
  ExportSource source = test::small_source(directory);
  ExportConfig config;
};

struct GptqCase {
  const char* bits;
  int64_t group;
  bool symmetric;
};

TEST_F(PackedExport, GptqReadsBackInEveryWidth) {
  for (const GptqCase& c : {GptqCase{"4", 128, true},
                            {"3", 32, true},
                            {"2", 64, false},
                            {"8", -1, true},
                            {"4", -1, false}}) {
    const GroupRule rule{
        .bits = std::stoi(c.bits), .group_size = c.group, .symmetric = c.symmetric};
    const PackedModel packed = packed_with(source, rule);
    config.export_quantization_symmetric = c.symmetric;
    ExportRequest request = test::request_for(directory, config);
    request.variant = c.bits;
    request.group_size = c.group;
    request.packed = &packed;
    write_gptq(source, request);
    expect_read_back(directory, packed);
    EXPECT_EQ(read_json_file(directory / "out/quantize_config.json"),
              read_json_file(directory / "out/config.json")["quantization_config"]);
  }
}

TEST_F(PackedExport, GptqHasTheWordsReadersExpect) {
  const PackedModel packed = packed_with(source, {.bits = 4, .group_size = 128});
  ExportRequest request = test::request_for(directory, config);
  request.variant = "4";
  request.group_size = 128;
  request.packed = &packed;
  write_gptq(source, request);
  const at::Tensor codes = written(directory, std::string(kQuery) + ".qweight");
  EXPECT_EQ(codes.sizes(), (std::vector<int64_t>{32, 128}));
  EXPECT_EQ(word(codes, 0, 0), 0xB5F94D82u);
  EXPECT_EQ(word(written(directory, std::string(kQuery) + ".qzeros"), 1, 3), 0x77777777u);
  const at::Tensor groups = written(directory, std::string(kQuery) + ".g_idx");
  EXPECT_EQ(groups[127].item<int>(), 0);
  EXPECT_EQ(groups[128].item<int>(), 1);
}

TEST_F(PackedExport, AZeroPointOfZeroNeedsTheSecondVersion) {
  const GroupRule rule{.bits = 4, .group_size = 128, .symmetric = false};
  PackedModel packed = packed_with(source, rule);
  // Nothing below zero: the zero point is the lowest code.
  packed.linears[kUp] = rounded_to_nearest("gptq", at::rand({128, 256}), rule);
  ExportRequest request = test::request_for(directory, config);
  request.variant = "4";
  request.packed = &packed;
  write_gptq(source, request);
  expect_read_back(directory, packed);
  EXPECT_EQ(
      read_json_file(directory / "out/config.json")["quantization_config"]["checkpoint_format"],
      "gptq_v2");
}

TEST_F(PackedExport, WhatStaysDenseIsNamedAsReadersLookItUp) {
  PackedModel packed = packed_with(source, {.bits = 4, .group_size = 128});
  packed.linears.erase(kUp);
  packed.left_dense = {kUp};
  ExportRequest request = test::request_for(directory, config);
  request.variant = "4";
  request.packed = &packed;
  write_gptq(source, request);
  const Json settings = read_json_file(directory / "out/config.json")["quantization_config"];
  EXPECT_TRUE(settings["dynamic"].contains("-:^model\\.layers\\.0\\.mlp\\.up_proj$"));
  EXPECT_TRUE(written(directory, std::string(kUp) + ".weight").defined());
  EXPECT_EQ(read_back(directory, kUp, at::kFloat).sizes(), (std::vector<int64_t>{128, 256}));
}

TEST_F(PackedExport, AwqInterleavesEightOutputsInAWord) {
  PackedModel packed = packed_with(source, {.bits = 4, .group_size = 64, .symmetric = false});
  at::Tensor codes = unpacked_codes(packed.linears[kUp]);
  const int first[] = {2, 8, 13, 4, 9, 15, 5, 11};
  for (int64_t n = 0; n < 8; ++n) codes[n][0].fill_(first[n]);
  PackedGroupParts& parts = packed.linears[kUp];
  parts = packed_parts("awq", {.bits = 4, .group_size = 64}, codes, parts.scales.to(at::kFloat),
                       zero_points_of(parts));
  packed.changed["model.layers.0.input_layernorm.weight"] = at::full({256}, 0.5);
  ExportRequest request = test::request_for(directory, config);
  request.group_size = 64;
  request.packed = &packed;
  write_awq(source, request);
  EXPECT_EQ(word(written(directory, std::string(kUp) + ".qweight"), 0, 0), 0xBF4859D2u);
  expect_read_back(directory, packed);
  EXPECT_TRUE(
      written(directory, "model.layers.0.input_layernorm.weight").eq(0.5).all().item<bool>());
}

TEST_F(PackedExport, CompressedTensorsStreamsRows) {
  const PackedModel packed =
      packed_with(source, {.bits = 4, .group_size = 128, .scale_type = at::kBFloat16});
  ExportRequest request = test::request_for(directory, config);
  request.group_size = 128;
  request.packed = &packed;
  write_compressed_tensors(source, request);
  const at::Tensor codes = written(directory, std::string(kQuery) + ".weight_packed");
  EXPECT_EQ(word(codes, 0, 0), 0xB5F94D82u);
  EXPECT_EQ(word(codes, 1, 31), 0x28D49F5Bu);
  EXPECT_TRUE(written(directory, std::string(kQuery) + ".weight_shape")
                  .equal(at::tensor({128, 256}, at::kLong)));
  expect_read_back(directory, packed);
}

}  // namespace
}  // namespace isogrid
