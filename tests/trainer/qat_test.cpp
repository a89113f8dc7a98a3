#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "models/rounding.h"
#include "models/trained_codes.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "tests/models/tolerance.h"
#include "tests/trainer/small_training.h"

namespace isogrid {
namespace {

using test::relative_difference;
using test::small_rows;

/// Rows of 256, so that every block fits.
DecoderConfig wide_decoder() {
  DecoderConfig config = test::small_decoder();
  config.hidden = 256;
  config.intermediate = 512;
  config.head_dim = 64;
  return config;
}

QatConfig qat_for(const std::string& target) {
  QatConfig qat;
  qat.qat_target = target;
  qat.qat_refresh_steps = 2;
  return qat;
}

Training rounded_training(const QatConfig& qat, bool adapters,
                          at::ScalarType compute = at::kFloat) {
  Training training;
  CausalLm& model = training.model;
  model = build_model(wide_decoder());
  initialise_randomly(model, 3, at::kFloat);
  model.compute = compute;
  if (adapters) {
    AdapterSpec spec;
    spec.rank = 4;
    attach_fresh_adapters(model, spec, 1, at::kFloat);
    at::manual_seed(5);
    visit_linears(
        model, [](const std::string&, Linear& linear) { linear.adapter->b.uniform_(-0.02, 0.02); });
  }
  round_to_target(model, qat);
  if (adapters)
    train_adapters(model);
  else
    train_all(model);
  training.trainables = lay_out_trainables(model, {compute, at::kFloat, at::kCPU});
  find_trained_depth(model);
  training.optimizer = make_optimizer({}, training.trainables);
  training.schedule = {.shape = "constant", .highest = 1e-2, .total = 10};
  return training;
}

void train(Training& training, int64_t steps) {
  ExampleStore store;
  const BatchStream batches(small_rows(store, {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}}),
                            {.rows_per_micro_batch = 4, .micro_batches_per_step = 1});
  for (int64_t step = 0; step < steps; ++step) {
    begin_step(training.model, {step, steps});
    ASSERT_TRUE(run_step(training, batches, step).updated);
  }
}

/// What a pass multiplies with, by name.
std::map<std::string, at::Tensor> served_weights(CausalLm& model) {
  std::map<std::string, at::Tensor> served;
  visit_weights(
      model, [&](const std::string& name, std::shared_ptr<WeightSource>& weight, Linear* linear) {
        at::Tensor out = at::empty({weight->outputs(), weight->inputs()}, at::kFloat);
        const auto change = linear != nullptr ? rounded_change(*linear) : std::nullopt;
        weight->materialise(out, 0, weight->outputs(), change ? &*change : nullptr);
        served[name] = out;
      });
  return served;
}

at::Tensor master_of(const Training& training, const TensorSlot& slot) {
  const TrainedSlice* slice = training.trainables.find(slot.name);
  return slice == nullptr ? *slot.tensor
                          : training.trainables.view(training.trainables.master, *slice);
}

/// The published weights are bfloat16: the codes travel beside them.
at::Tensor published(const Training& training, const TensorSlot& slot) {
  const at::Tensor value = master_of(training, slot);
  return is_adapter(slot.role) ? value : value.to(at::kBFloat16);
}

std::shared_ptr<const TrainedCodes> written_codes(Training& training, const QatConfig& qat,
                                                  const std::string& folder) {
  const auto file = trained_codes_file(
      training.model, qat, [&](const TensorSlot& slot) { return published(training, slot); });
  EXPECT_TRUE(file.has_value());
  write_file_durably(folder + "/" + file->name, file->size, file->produce);
  return read_trained_codes(folder);
}

struct Target {
  const char* name;
  const char* scale_mode;
  bool adapters;
};

class EveryTarget : public testing::TestWithParam<Target> {};

TEST_P(EveryTarget, ItsCodesOnDiskAreTheWeightsOfTraining) {
  QatConfig qat = qat_for(GetParam().name);
  qat.qat_scale_mode = GetParam().scale_mode;
  Training training = rounded_training(qat, GetParam().adapters, at::kBFloat16);
  train(training, 5);
  const TemporaryDirectory folder;
  const auto codes = written_codes(training, qat, folder.path().string());
  ASSERT_NE(codes, nullptr);
  const auto served = served_weights(training.model);
  const TargetGrids grids = target_grids(training.model, qat);
  EXPECT_EQ(codes->weights.size(), grids.size());
  for (const auto& [name, weight] : codes->weights) {
    EXPECT_TRUE(weight.decoded().equal(served.at(name))) << name;
    EXPECT_EQ(weight.grid->name(), grids.at(name)->name());
  }
}

std::vector<Target> targets() {
  std::vector<Target> list;
  for (const char* name : {"gguf:q8_0",      "gguf:q4_0",      "gguf:q4_1",   "gguf:q5_0",
                           "gguf:q5_1",      "gguf:q2_k",      "gguf:q3_k_m", "gguf:q4_k_m",
                           "gguf:q5_k_s",    "gguf:q6_k",      "gguf:iq4_nl", "gguf:iq4_xs",
                           "gguf:mxfp4",     "gguf:nvfp4",     "gguf:tq1_0",  "gguf:tq2_0",
                           "gguf:q1_0",      "gguf:q2_0",      "int4_g32",    "int4_g64",
                           "int4_g128",      "universal_int4", "int8",        "torchao:int4wo",
                           "torchao:int8wo", "torchao:8da4w",  "nf4",         "fp4"})
    list.push_back({name, "derived", false});
  for (const char* name : {"gguf:q4_0", "gguf:q4_k_m", "universal_int4"}) {
    list.push_back({name, "frozen", false});
    list.push_back({name, "derived", true});
  }
  for (const char* name : {"gguf:q4_0", "gguf:q2_0", "universal_int4", "nf4"}) {
    list.push_back({name, "learned", false});
    list.push_back({name, "learned", true});
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Targets, EveryTarget, testing::ValuesIn(targets()));

TEST(Qat, CodesOfAnotherWeightAreRefused) {
  const QatConfig qat = qat_for("universal_int4");
  Training training = rounded_training(qat, /*adapters=*/true);
  train(training, 1);
  const TemporaryDirectory folder;
  const auto codes = written_codes(training, qat, folder.path().string());
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const Adapter* adapter = nullptr;
  visit_linears(training.model, [&](const std::string& module, Linear& linear) {
    if (module + ".weight" == name) adapter = &*linear.adapter;
  });
  training.model.visit([&](const TensorSlot& slot) {
    if (slot.name != name) return;
    const at::Tensor stored = published(training, slot);
    check_trained_weight(*codes, name, stored, adapter);
    expect_refusal([&] { check_trained_weight(*codes, name, stored * 2, adapter); },
                   ExitCode::refused_input, name);
    expect_refusal([&] { check_trained_weight(*codes, name, stored, nullptr); },
                   ExitCode::refused_input, name);
  });
}

// y = x R(W + s b a)^T with R straight through: dL/da = s b^T dW and dL/db = s dW a^T.
TEST(Qat, AnAdapterRoundedIntoItsWeightTakesTheGradientOfTheSum) {
  const QatConfig qat = qat_for("int4_g32");
  Training training = rounded_training(qat, /*adapters=*/true);
  begin_step(training.model, {0, 10});
  Projection& down = training.model.blocks[1].down;
  const at::Tensor gate = at::randn({6, 512}).requires_grad_(), up = at::randn({6, 512});
  const at::Tensor d = at::randn({6, 256});
  project(down, gate, up)[0].backward(d);

  at::Tensor weight = served_weights(training.model).at("model.layers.1.mlp.down_proj.weight");
  weight.requires_grad_();
  const at::Tensor again = gate.detach().clone().requires_grad_();
  std::optional<Adapter> kept;
  std::swap(kept, down.linears[0].adapter);
  project_composition(down, {weight}, again, up)[0].backward(d);
  EXPECT_LE(relative_difference(gate.grad(), again.grad()), 1e-6);
  const at::Tensor d_a = at::mm(kept->b.detach().t(), weight.grad()) * kept->scale;
  const at::Tensor d_b = at::mm(weight.grad(), kept->a.detach().t()) * kept->scale;
  EXPECT_LE(relative_difference(kept->a.grad(), d_a), 1e-5);
  EXPECT_LE(relative_difference(kept->b.grad(), d_b), 1e-5);
}

// Blocks of 32: scale 127 / 127 = 1, and 2.4 is 2. Of 256: the extreme -254 is code -127 of
// scale 2. A token from -1 to 254: scale 1, zero -127.
TEST(Qat, ActivationsAreRoundedAsTheEngineDoes) {
  at::Tensor x = at::zeros({2, 256});
  x[0][0] = 127.0f;
  x[0][1] = 2.4f;
  x[0][32] = 0.5f;
  x[1][0] = -254.0f;
  x[1][1] = 2.9f;
  x[1][200] = 5.1f;
  const at::Tensor small = rounded_activations(x, ActivationRounding::q8_0);
  EXPECT_EQ(small[0][0].item<float>(), 127.0f);
  EXPECT_EQ(small[0][1].item<float>(), 2.0f);
  EXPECT_NEAR(small[0][32].item<float>(), 0.5f, 1e-3);
  const at::Tensor super = rounded_activations(x, ActivationRounding::q8_k);
  EXPECT_EQ(super[1][0].item<float>(), -254.0f);
  EXPECT_EQ(super[1][1].item<float>(), 2.0f);
  EXPECT_EQ(super[1][200].item<float>(), 6.0f);
  at::Tensor token = at::zeros({1, 4});
  token[0][0] = -1.0f;
  token[0][1] = 254.0f;
  token[0][2] = 3.3f;
  const at::Tensor whole = rounded_activations(token, ActivationRounding::int8_token);
  EXPECT_EQ(whole[0][0].item<float>(), -1.0f);
  EXPECT_EQ(whole[0][1].item<float>(), 254.0f);
  EXPECT_EQ(whole[0][2].item<float>(), 3.0f);
}

TEST(Qat, TheMixGivesEachWeightTheTypeOfTheFile) {
  CausalLm model = build_model(wide_decoder());
  const TargetGrids grids = target_grids(model, qat_for("gguf:q4_k_m"));
  EXPECT_EQ(grids.at("model.embed_tokens.weight")->name(), "gguf:q6_k");
  EXPECT_EQ(grids.at("model.layers.0.self_attn.q_proj.weight")->name(), "gguf:q4_k");
  EXPECT_EQ(grids.at("model.layers.2.mlp.down_proj.weight")->name(), "gguf:q6_k");
  EXPECT_EQ(target_grids(model, qat_for("int8")).count("model.embed_tokens.weight"), 0u);
}

TEST(Qat, WhatIsNotThereIsRefusedByName) {
  CausalLm model = build_model(wide_decoder());
  expect_refusal([&] { target_grids(model, qat_for("gguf:q9_9")); }, ExitCode::configuration,
                 "gguf:q4_k_m");
  expect_refusal([&] { target_grids(model, qat_for("int5")); }, ExitCode::configuration,
                 "universal_int4");
  expect_refusal([&] { target_grids(model, qat_for("gguf:f16")); }, ExitCode::configuration,
                 "qat_target: gguf:f16");
  QatConfig qat = qat_for("int8");
  qat.qat_exclude = {"o_project"};
  expect_refusal([&] { target_grids(model, qat); }, ExitCode::configuration, "o_project");
  qat.qat_exclude = {"o_proj", "layers.0.mlp.up_proj"};
  EXPECT_EQ(target_grids(model, qat).size(), 3u * 7 - 4);
}

TEST(Qat, BeforeItsFirstStepTrainingIsOrdinary) {
  QatConfig qat = qat_for("gguf:q4_0");
  qat.qat_start_step = 3;
  Training rounded = rounded_training(qat, /*adapters=*/false);
  Training plain = rounded_training({}, /*adapters=*/false);
  train(rounded, 3);
  train(plain, 3);
  EXPECT_TRUE(rounded.trainables.master.equal(plain.trainables.master));
  EXPECT_FALSE(trained_codes_file(rounded.model, qat, [&](const TensorSlot& slot) {
                 return published(rounded, slot);
               }).has_value());
}

}  // namespace
}  // namespace isogrid
