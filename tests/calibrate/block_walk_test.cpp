#include "calibrate/block_walk.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "calibrate/gptq.h"
#include "quant/dense.h"
#include "tests/calibrate/small_model.h"

namespace isogrid {
namespace {

using test::small_batches;
using test::small_model;

/// What enters the q, k and v of `layer`: the model cut off there, that norm for its last.
at::Tensor moment_before(const CausalLm& model, size_t layer, const std::vector<Batch>& rows) {
  const at::NoGradGuard no_grad;
  CausalLm cut = model;
  cut.final_norm = model.blocks[layer].qkv.norm;
  cut.blocks.resize(layer);
  InputMoments moments;
  for (const Batch& row : rows)
    moments.add(forward_hidden(cut, at::tensor(row.input_ids, at::TensorOptions().dtype(at::kLong)),
                               lay_out(model.config, row.document_ends, {}, at::kCPU)));
  return moments.second_moment();
}

TEST(BlockWalk, ShowsEveryGroupInOrder) {
  const CausalLm model = small_model();
  std::vector<std::string> names;
  std::vector<int64_t> widths;
  walk_blocks(model, small_batches(), [&](SeenGroup& seen) {
    for (const std::string& name : seen.names()) names.push_back(name);
    widths.push_back(seen.inputs.second_moment().size(0));
    EXPECT_EQ(seen.inputs.tokens(), 6 + 9 + 4);
  });
  std::vector<std::string> expected;
  CausalLm copy = model;
  visit_linears(copy, [&](const std::string& name, Linear&) { expected.push_back(name); });
  EXPECT_EQ(names, expected);
  ASSERT_EQ(widths.size(), 12u);
  EXPECT_EQ(std::vector<int64_t>(widths.begin(), widths.begin() + 4),
            (std::vector<int64_t>{32, 32, 32, 48}));
}

TEST(BlockWalk, InputsAreThoseOfTheModelAndFollowWhatWasReplaced) {
  CausalLm model = small_model();
  const std::vector<Batch> rows = small_batches();
  CausalLm changed = model;
  changed.blocks[0].gate_up.linears[1].weight = std::make_shared<DenseWeight>(at::zeros({48, 32}));
  walk_blocks(model, rows, [&](SeenGroup& seen) {
    if (seen.group == LinearGroup::qkv) {
      const at::Tensor expected =
          moment_before(seen.layer == 0 ? model : changed, seen.layer, rows);
      EXPECT_TRUE(seen.inputs.second_moment().allclose(expected, 1e-4, 1e-6)) << seen.layer;
    }
    if (seen.layer == 0 && seen.group == LinearGroup::gate_up)
      seen.projection().linears[1].weight = changed.blocks[0].gate_up.linears[1].weight;
  });
}

double distance(const CausalLm& model, const CausalLm& other, const std::vector<Batch>& rows) {
  return (moment_before(model, 2, rows) - moment_before(other, 2, rows)).norm().item<double>();
}

TEST(CalibratedModel, IsNearerToTheDenseOneThanARoundedOne) {
  const CausalLm model = small_model();
  const std::vector<Batch> rows = small_batches();
  GptqOptions options;
  options.rule.bits = 3;
  options.rule.group_size = 16;
  const PackedModel packed = calibrate_gptq(model, rows, options, "gptq");
  EXPECT_EQ(packed.linears.size(), 21u);
  CausalLm calibrated = model, rounded = model;
  use_packed(calibrated, packed);
  visit_linears(rounded, [&](const std::string&, Linear& linear) {
    linear.weight = std::make_shared<PackedGroupWeight>(
        rounded_to_nearest("gptq", linear.weight->resident(at::kFloat), options.rule));
  });
  EXPECT_LT(distance(calibrated, model, rows), distance(rounded, model, rows));
  EXPECT_GT(packed.worst_error, 0);
}

TEST(CalibratedModel, HoldsTheAdapterAndLeavesTheModelAsItWas) {
  CausalLm model = small_model();
  attach_fresh_adapters(model, AdapterSpec(), 1, at::kFloat);
  Linear& linear = model.blocks[1].output.linears[0];
  linear.adapter->b.fill_(0.3);
  const at::Tensor merged = merged_weight(linear, at::kFloat);
  GptqOptions options;
  options.rule.bits = 8;
  options.rule.group_size = 16;
  options.rule.scale_type = at::kFloat;
  const PackedModel packed = calibrate_gptq(model, small_batches(), options, "ct");
  const PackedGroupParts& parts = packed.linears.at("model.layers.1.self_attn.o_proj");
  EXPECT_STREQ(parts.format, "ct");
  const at::Tensor decoded = whole_weight(PackedGroupWeight(parts), at::kFloat, at::kCPU);
  EXPECT_TRUE(decoded.allclose(merged, 0.05, 0.02));
  EXPECT_TRUE(linear.adapter.has_value());
}

TEST(CalibratedModel, LinearsThatFitNoContainerStayDense) {
  const PackedModel packed =
      calibrate_gptq(small_model(), small_batches(), {.rule = {.group_size = 16}}, "gptq",
                     [](int64_t, int64_t inputs) { return inputs != 48; });
  EXPECT_EQ(packed.left_dense, (std::vector<std::string>{"model.layers.0.mlp.down_proj",
                                                         "model.layers.1.mlp.down_proj",
                                                         "model.layers.2.mlp.down_proj"}));
  EXPECT_EQ(packed.linears.size(), 18u);
}

}  // namespace
}  // namespace isogrid
