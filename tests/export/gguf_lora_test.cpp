#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cstring>

#include "core/gguf.h"
#include "core/gguf_names.h"
#include "models/attach_adapters.h"
#include "models/head_order.h"
#include "models/peft.h"
#include "tests/core/refusal.h"
#include "tests/export/small_model.h"

namespace isogrid {
namespace {

using test::small_config;
using test::write_small_model;

/// Writes an adapter on the base, one layer with a rank and an alpha of its own.
std::string write_adapter_of(const TemporaryDirectory& folder, bool dora = false) {
  CausalLm model = load_model(open_model_folder(folder / "base"), {.compute = at::kFloat});
  AdapterSpec spec;
  spec.rank = 4;
  spec.alpha = 6;
  spec.dora = dora;
  spec.targets = {"q_proj", "k_proj", "down_proj"};
  spec.rank_pattern = {{"layers.1.self_attn.q_proj", 2}};
  spec.alpha_pattern = {{"layers.2.mlp.down_proj", 9.0}};
  attach_fresh_adapters(model, spec, /*seed=*/3, at::kFloat);
  visit_linears(model, [](const std::string&, Linear& linear) {
    if (linear.adapter) linear.adapter->b = at::randn(linear.adapter->b.sizes());
  });
  if (dora) initialise_magnitudes(model);
  const std::string path = folder / "adapter";
  folder.write("adapter/adapter_config.json", dump_json(peft_config(model, spec, "base", {})));
  write_tensors(path + "/adapter_model.safetensors",
                peft_tensors(model, {}, [](const TensorSlot& slot) { return *slot.tensor; }));
  return path;
}

at::Tensor floats_of(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.header().find_tensor(name);
  if (tensor == nullptr || tensor->type->name != "F32") return {};
  std::vector<float> values(tensor->bytes / sizeof(float));
  std::memcpy(values.data(), file.bytes(*tensor).data(), tensor->bytes);
  return at::tensor(values).reshape(tensor->shape());
}

class GgufLora : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { write_small_model(folder_, small_config(GetParam())); }
  TemporaryDirectory folder_;
};

TEST_P(GgufLora, MakesTheSameChangeByOneAlpha) {
  ExportSource source =
      open_export_source(folder_ / "base", {open_peft_folder(write_adapter_of(folder_))});
  write_gguf_lora(source, {.format = "gguf", .variant = "lora", .directory = folder_ / "out"});
  const GgufFile file(folder_ / "out/base-LORA.gguf");
  const GgufHeader& header = file.header();
  EXPECT_EQ(header.text("general.type"), "adapter");
  EXPECT_EQ(header.text("adapter.type"), "lora");
  EXPECT_EQ(header.text("general.architecture"), GetParam());
  const double alpha = header.number("adapter.lora.alpha");
  EXPECT_EQ(alpha, 6.0);
  size_t found = 0;
  visit_linears(source.model, [&](const std::string& module, Linear& linear) {
    if (!linear.adapter) return;
    ++found;
    const std::string name = *gguf_tensor_name(module + ".weight");
    const at::Tensor a = floats_of(file, name + ".lora_a");
    at::Tensor b = floats_of(file, name + ".lora_b");
    ASSERT_TRUE(a.defined() && b.defined()) << name;
    // As the engine scales: by the rank of this very tensor.
    at::Tensor change = at::mm(b, a) * (alpha / static_cast<double>(b.size(1)));
    const GgufArchitecture& kind = *find_gguf_architecture(GetParam());
    if (kind.interleaved_heads && is_rotated_part(gguf_part_of(name)))
      change = halved_heads(change, name.find("attn_q") != std::string::npos
                                        ? source.model.config.heads
                                        : source.model.config.kv_heads);
    const at::Tensor wanted = at::mm(linear.adapter->b, linear.adapter->a) * linear.adapter->scale;
    EXPECT_TRUE(at::allclose(change, wanted, 1e-5, 1e-6)) << name;
  });
  EXPECT_EQ(header.tensors().size(), 2 * found);
}

TEST_P(GgufLora, RefusesWhatTheEngineCannotLayOverAModel) {
  ExportSource dora = open_export_source(
      folder_ / "base", {open_peft_folder(write_adapter_of(folder_, /*dora=*/true))});
  const ExportRequest request{.format = "gguf", .variant = "lora", .directory = folder_ / "out"};
  expect_refusal([&] { write_gguf_lora(dora, request); }, ExitCode::configuration, "DoRA");
  ExportSource none = open_export_source(folder_ / "base", {});
  expect_refusal([&] { write_gguf_lora(none, request); }, ExitCode::configuration,
                 "names 0 adapters");
}

INSTANTIATE_TEST_SUITE_P(Architectures, GgufLora,
                         testing::Values("qwen2", "qwen3", "llama", "smollm3"));

}  // namespace
}  // namespace isogrid
