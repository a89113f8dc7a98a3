// Codes that a training chose reach every container of groups as they are.
#include "export/packed_trained.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "quant/grid.h"
#include "tests/export/small_folder.h"

namespace isogrid {
namespace {

TrainedWeight coded(const std::string& grid, int64_t outputs, int64_t inputs) {
  TrainedWeight weight;
  weight.grid = make_grid(grid, "qat_target");
  weight.columns = inputs;
  weight.records = at::empty({outputs, weight.grid->row_bytes(inputs)}, at::kByte);
  const at::Tensor dense = at::randn({outputs, inputs}) * 0.1;
  for (int64_t row = 0; row < outputs; ++row)
    weight.grid->encode(
        dense.const_data_ptr<float>() + row * inputs, nullptr, inputs,
        static_cast<std::byte*>(weight.records.mutable_data_ptr()) + row * weight.records.size(1));
  return weight;
}

class TrainedExport : public testing::Test {
 protected:
  void train_for(const std::string& grid) {
    at::manual_seed(5);
    TrainedCodes codes;
    codes.target = grid;
    visit_linears(source.model, [&](const std::string& name, Linear& linear) {
      codes.weights[name + ".weight"] =
          coded(grid, linear.weight->outputs(), linear.weight->inputs());
    });
    source.codes = std::make_shared<const TrainedCodes>(std::move(codes));
  }
  /// Writes it and compares what our loader reads with what the training decoded to.
  void expect_carried(const std::string& format, at::ScalarType type) {
    const WantedExport wanted = wanted_export(format);
    const std::optional<PackedModel> packed = trained_model(source, wanted);
    ASSERT_TRUE(packed.has_value()) << format;
    ExportRequest request = test::request_for(directory, config);
    request.variant = wanted.variant;
    request.group_size = trained_group_size(source);
    request.packed = &*packed;
    wanted.format->write(source, request);
    expect_decoded(type);
  }
  void expect_decoded(at::ScalarType type) {
    for (const auto& [name, weight] : source.codes->weights) {
      const std::string linear = name.substr(0, name.rfind('.'));
      EXPECT_TRUE(test::read_back(directory, linear, type).equal(weight.decoded().to(type)))
          << name;
    }
  }

  TemporaryDirectory directory;
  ExportSource source = test::small_source(directory);
  ExportConfig config;
};

TEST_F(TrainedExport, TheSharedGridIsExactEverywhere) {
  train_for("universal_int4");
  for (const char* format : {"gptq:4", "awq:4", "gptq:4:g32"}) expect_carried(format, at::kFloat);
  expect_carried("ct:int4", at::kBFloat16);
  ExportRequest request = test::request_for(directory, config);
  request.variant = "int4wo";
  request.group_size = trained_group_size(source);
  EXPECT_EQ(request.group_size, 32);
  write_torchao(source, request);
  expect_decoded(at::kBFloat16);
}

TEST_F(TrainedExport, LongerScalesAreKeptToo) {
  train_for("int4_g64");
  EXPECT_EQ(trained_group_size(source), 64);
  const std::optional<PackedModel> packed = trained_model(source, wanted_export("gptq:4"));
  ASSERT_TRUE(packed.has_value());
  for (const auto& [name, parts] : packed->linears) {
    const TrainedGroups groups = *trained_groups(*source.codes->find(name + ".weight"));
    EXPECT_TRUE(parts.scales.to(at::kFloat).equal(groups.scales));
  }
}

TEST_F(TrainedExport, EightBitRowsOfTorchaoAreCarried) {
  train_for("torchao:int8wo");
  EXPECT_EQ(trained_group_size(source), 0);
  ExportRequest request = test::request_for(directory, config);
  request.variant = "int8wo";
  write_torchao(source, request);
  expect_decoded(at::kFloat);
}

TEST_F(TrainedExport, FourBitFloatsAreCarriedWithPlainScales) {
  for (const char* code : {"nf4", "fp4"}) {
    train_for(code);
    ExportRequest request = test::request_for(directory, config);
    request.variant = code;
    request.double_quantization = true;
    write_bnb(source, request);
    expect_decoded(at::kFloat);
  }
}

TEST_F(TrainedExport, WhatAFormatCannotHoldIsQuantisedAnew) {
  train_for("universal_int4");
  EXPECT_FALSE(trained_model(source, wanted_export("gptq:4:g64")).has_value());
  EXPECT_FALSE(trained_model(source, wanted_export("gptq:3")).has_value());
  train_for("torchao:int4wo");  // its zero points are no codes
  EXPECT_FALSE(trained_model(source, wanted_export("gptq:4")).has_value());
  source.codes.reset();
  EXPECT_FALSE(trained_model(source, wanted_export("gptq:4")).has_value());
}

}  // namespace
}  // namespace isogrid
