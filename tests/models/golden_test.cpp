// What transformers computed for a tiny model of every architecture (tests/parity/make_golden.py).
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include <map>

#include "core/tensor_file.h"
#include "models/weights.h"
#include "tests/models/tolerance.h"
#include "trainer/loss/next_token_loss.h"

namespace isogrid {
namespace {

using test::relative_difference;

class GoldenTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string folder = std::string(ISOGRID_SOURCE_DIR "/tests/golden/") + GetParam();
    model = load_model(open_model_folder(folder), {.compute = at::kFloat});
    for (const NamedTensor& each : read_tensors(folder + "/expected.safetensors"))
      expected[each.name] = each.tensor;
    ids = expected.at("ids");
    layout = lay_out(model.config, {ids.numel()}, {}, at::kCPU);
  }

  CausalLm model;
  std::map<std::string, at::Tensor> expected;
  at::Tensor ids;
  TokenLayout layout;
};

TEST_P(GoldenTest, LogitsAgree) {
  const at::NoGradGuard no_grad;
  const at::Tensor logits = head_logits(model, forward_hidden(model, ids, layout));
  EXPECT_LE(relative_difference(logits, expected.at("logits")), 1e-5);
}

TEST_P(GoldenTest, GradientsOfEveryParameterAgree) {
  model.visit([](const TensorSlot& slot) { slot.tensor->requires_grad_(); });
  const int64_t last = ids.numel() - 1;
  const at::Tensor hidden = forward_hidden(model, ids, layout);
  next_token_loss(hidden, *model.head, at::arange(last, at::kLong), ids.slice(0, 1))
      .mean()
      .backward();
  size_t compared = 0;
  model.visit([&](const TensorSlot& slot) {
    EXPECT_LE(relative_difference(slot.tensor->grad(), expected.at("gradient." + slot.name)), 1e-4)
        << slot.name;
    ++compared;
  });
  EXPECT_EQ(compared + 2, expected.size());
}

INSTANTIATE_TEST_SUITE_P(Architectures, GoldenTest,
                         testing::Values("qwen2", "qwen3", "llama", "mistral", "smollm3"));

}  // namespace
}  // namespace isogrid
