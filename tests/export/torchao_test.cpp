#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"
#include "tests/core/refusal.h"
#include "tests/export/small_folder.h"

namespace isogrid {
namespace {

constexpr const char* kUpProjection = "model.layers.0.mlp.up_proj";

class TorchaoExport : public testing::Test {
 protected:
  void write(const char* variant, int64_t group_size) {
    ExportRequest request = test::request_for(directory, config);
    request.variant = variant;
    request.group_size = group_size;
    write_torchao(source, request);
  }
  at::Tensor part(const char* name) {
    return test::written(directory, concat(kUpProjection, "._weight_", name));
  }
  at::Tensor stored() {
    const std::string wanted = concat(kUpProjection, ".weight");
    for (const ExportTensor& tensor : export_tensors(source))
      if (tensor.name == wanted) return tensor.value();
    return {};
  }

  TemporaryDirectory directory;
  ExportSource source = test::small_source(directory);
  ExportConfig config;
};

TEST_F(TorchaoExport, EightBitsHaveAScaleForEachRow) {
  write("int8wo", 0);
  EXPECT_EQ(part("qdata").scalar_type(), at::kChar);
  EXPECT_EQ(part("scale").sizes(), (std::vector<int64_t>{128, 1}));
  // The largest number of a row is 127.5 scales, in the weight's own rounding.
  const at::Tensor expected = (stored().abs().amax(1, true) / 127.5).to(at::kFloat);
  EXPECT_TRUE(part("scale").equal(expected));
  const at::Tensor decoded = part("qdata").to(at::kFloat) * part("scale");
  EXPECT_TRUE(test::read_back(directory, kUpProjection, at::kFloat).equal(decoded));
  EXPECT_LE((decoded - stored().to(at::kFloat)).abs().max().item<float>(),
            1.01 * part("scale").max().item<float>());
}

TEST_F(TorchaoExport, FourBitsHaveAScaleForEachGroup) {
  write("int4wo", 64);
  EXPECT_EQ(part("scale").sizes(), (std::vector<int64_t>{128, 4}));
  EXPECT_EQ(part("scale").scalar_type(), at::kBFloat16);
  EXPECT_GE(part("qdata").min().item<int>(), -8);
  EXPECT_LE(part("qdata").max().item<int>(), 7);
  const at::Tensor decoded =
      part("qdata").to(at::kBFloat16).reshape({128, 4, 64}) * part("scale").unsqueeze(2);
  EXPECT_TRUE(
      test::read_back(directory, kUpProjection, at::kBFloat16).equal(decoded.reshape({128, 256})));
}

TEST_F(TorchaoExport, TheFileSaysWhatItsPartsMake) {
  write("int8dq", 0);
  const SafetensorsFile file(directory / "out/model.safetensors");
  const SafetensorsMetadata& metadata = file.header().metadata();
  const Json up = parse_json(metadata.at(std::string(kUpProjection) + ".weight"), "metadata");
  EXPECT_EQ(up["_type"], "Int8Tensor");
  EXPECT_EQ(up["_data"]["block_size"], Json::array({1, 256}));
  EXPECT_EQ(up["_data"]["act_quant_kwargs"]["_type"], "QuantizeTensorToInt8Kwargs");
  EXPECT_EQ(up["_tensor_data_names"], Json::array({"qdata", "scale", "zero_point"}));
  const Json names = parse_json(metadata.at("tensor_names"), "metadata");
  EXPECT_EQ(names.size(), metadata.size() - 2);  // all but the list itself and "format"
  EXPECT_EQ(parse_json(metadata.at("model.norm.weight"), "metadata")["_type"], "Tensor");
}

TEST_F(TorchaoExport, RowsThatAreNoWholeGroupsStayDense) {
  write("int4wo", 256);  // down has 128 inputs
  const Json settings = read_json_file(directory / "out/config.json")["quantization_config"];
  EXPECT_EQ(
      settings["modules_to_not_convert"],
      Json::array({"lm_head", "model.layers.0.self_attn.o_proj", "model.layers.0.mlp.down_proj"}));
  EXPECT_TRUE(test::written(directory, "model.layers.0.mlp.down_proj.weight").defined());
}

TEST_F(TorchaoExport, CodesBeyondTheirBitsAreRefused) {
  write("int4wo", 64);
  std::vector<NamedTensor> tensors = read_tensors(directory / "out/model.safetensors");
  for (NamedTensor& each : tensors)
    if (each.name == concat(kUpProjection, "._weight_qdata"))
      each.tensor = each.tensor.clone().fill_(8);
    else
      each.tensor = each.tensor.clone();
  write_tensors(directory / "out/model.safetensors", tensors);
  expect_refusal([&] { test::read_back(directory, kUpProjection, at::kFloat); },
                 ExitCode::refused_input, "up_proj._weight_qdata: holds codes outside -8 to 7");
}

}  // namespace
}  // namespace isogrid
