#include "calibrate/awq.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "tests/calibrate/small_model.h"

namespace isogrid {
namespace {

/// As many heads for keys as for queries, and biases: a factor can be taken back everywhere. Some
/// inputs are much louder than others, by their norm's weight.
CausalLm uneven_model(int64_t kv_heads) {
  DecoderConfig config = test::small_decoder();
  config.kv_heads = kv_heads;
  config.qkv_bias = config.mlp_bias = true;
  CausalLm model = build_model(config);
  initialise_randomly(model, 3, at::kFloat);
  at::manual_seed(4);
  model.visit([](const TensorSlot& slot) {
    if (slot.role == Role::bias) slot.tensor->uniform_(-0.2, 0.2);
    if (slot.role == Role::norm) slot.tensor->log_normal_(0, 1);
  });
  return model;
}

at::Tensor outputs(const CausalLm& model) {
  const at::NoGradGuard no_grad;
  const Batch row = test::small_batches()[0];
  return forward_hidden(model, at::tensor(row.input_ids, at::TensorOptions().dtype(at::kLong)),
                        lay_out(model.config, row.document_ends, {}, at::kCPU));
}

double distance(const CausalLm& model, const CausalLm& other) {
  return (outputs(model) - outputs(other)).norm().item<double>();
}

/// A copy whose tensors are its own.
CausalLm with(const PackedModel& packed, int64_t kv_heads) {
  CausalLm model = uneven_model(kv_heads);
  use_packed(model, packed);
  return model;
}

class AwqOfHeads : public testing::TestWithParam<int64_t> {};

TEST_P(AwqOfHeads, FactorsAreTakenBackWhereTheyAreNotSeen) {
  // With eight bits little is lost: a factor not taken back would outweigh it by far.
  const CausalLm model = uneven_model(GetParam());
  AwqOptions options;
  options.rule.bits = 8;
  options.rule.group_size = 16;
  const PackedModel packed = calibrate_awq(model, test::small_batches(), options);
  EXPECT_EQ(packed.linears.size(), 21u);
  EXPECT_FALSE(packed.changed.empty());
  AwqOptions plain = options;
  plain.ratios = 0;
  plain.clip_steps = 1;
  const double rounded =
      distance(with(calibrate_awq(model, test::small_batches(), plain), GetParam()), model);
  EXPECT_LT(distance(with(packed, GetParam()), model), 1.2 * rounded);
}

TEST_P(AwqOfHeads, IsNearerToTheDenseModelThanRounding) {
  const CausalLm model = uneven_model(GetParam());
  AwqOptions options;
  options.rule.group_size = 16;
  AwqOptions plain = options;
  plain.ratios = 0;
  plain.clip_steps = 1;
  const double searched =
      distance(with(calibrate_awq(model, test::small_batches(), options), GetParam()), model);
  const double rounded =
      distance(with(calibrate_awq(model, test::small_batches(), plain), GetParam()), model);
  EXPECT_LT(searched, 0.9 * rounded);
}

INSTANTIATE_TEST_SUITE_P(Heads, AwqOfHeads, testing::Values(2, 4));

TEST(Awq, WithoutASearchItIsRoundingToTheNearest) {
  const CausalLm model = uneven_model(2);
  AwqOptions options;
  options.rule.group_size = 16;
  options.ratios = 0;
  options.clip_steps = 1;
  const PackedModel packed = calibrate_awq(model, test::small_batches(), options);
  const at::Tensor& weight = model.blocks[1].down.linears[0].weight->resident(at::kFloat);
  const PackedGroupParts nearest = rounded_to_nearest("awq", weight, options.rule);
  const PackedGroupParts& parts = packed.linears.at("model.layers.1.mlp.down_proj");
  EXPECT_TRUE(parts.codes.equal(nearest.codes));
  EXPECT_TRUE(parts.scales.equal(nearest.scales));
}

TEST(Awq, LinearsThatFitNoContainerStayDenseAndKeepTheirFactor) {
  const CausalLm model = uneven_model(2);
  AwqOptions options;
  options.rule.bits = 8;
  options.rule.group_size = 16;
  const PackedModel packed = calibrate_awq(model, test::small_batches(), options,
                                           [](int64_t outputs, int64_t) { return outputs != 48; });
  EXPECT_EQ(packed.left_dense.size(), 6u);  // gate and up of three layers
  EXPECT_EQ(packed.linears.size(), 15u);
  EXPECT_LT(distance(with(packed, 2), model), 0.1 * outputs(model).norm().item<double>());
}

}  // namespace
}  // namespace isogrid
