#include "models/generate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "models/random_init.h"

namespace isogrid {
namespace {

DecoderConfig small_config() {
  DecoderConfig config;
  config.architecture = "qwen3";
  config.vocabulary = 101;
  config.hidden = 24;
  config.intermediate = 40;
  config.layers = 3;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.max_position = 512;
  config.initializer_range = 0.4;
  config.tied_head = true;
  config.qk_norm = true;
  config.layer_rotates.assign(3, true);
  config.layer_window = {0, 9, 0};
  return config;
}

class GenerateTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    model = build_model(small_config());
    initialise_randomly(model, 5, GetParam());
    for (int32_t prompt = 0; prompt < 40; ++prompt) {
      std::vector<int32_t> ids;
      for (int32_t i = 0; i <= prompt * 7 % 31; ++i) ids.push_back((prompt * 13 + i * 29) % 101);
      prompts.push_back(ids);
    }
    request.max_new_tokens = 24;
    request.sampling.do_sample = false;
  }

  /// Greedy without a cache: the whole text is read again for every token.
  std::vector<int32_t> slow_answer(std::vector<int32_t> ids, int64_t count) const {
    const at::NoGradGuard no_grad;
    const size_t prompt = ids.size();
    while (static_cast<int64_t>(ids.size() - prompt) < count) {
      const at::Tensor all = at::tensor(std::vector<int64_t>(ids.begin(), ids.end()));
      const TokenLayout layout = lay_out(model.config, {all.numel()}, {}, at::kCPU);
      const at::Tensor hidden = forward_hidden(model, all, layout);
      ids.push_back(static_cast<int32_t>(
          head_logits(model, hidden.slice(0, all.numel() - 1)).argmax().item<int64_t>()));
    }
    return {ids.begin() + static_cast<int64_t>(prompt), ids.end()};
  }

  CausalLm model;
  std::vector<std::vector<int32_t>> prompts;
  GenerationRequest request;
};

TEST_P(GenerateTest, ManyPromptsTogetherGiveWhatEachGivesAlone) {
  for (const bool sampled : {false, true}) {
    request.sampling.do_sample = sampled;
    request.prompts = prompts;
    request.streams = {};
    const auto together = generate(model, request).ids;
    for (size_t i = 0; i < prompts.size(); ++i) {
      request.prompts = {prompts[i]};
      request.streams = {i};  // without a name of its own a prompt's stream has that of its place
      EXPECT_EQ(generate(model, request).ids[0], together[i]) << "prompt " << i;
    }
  }
}

TEST_P(GenerateTest, StopsBehindAStopTokenAndAtTheLongestLength) {
  request.prompts = {prompts[3]};
  const auto free = generate(model, request).ids[0];
  ASSERT_EQ(free.size(), 24u);
  request.stop_ids = {free[5]};
  const auto stopped = generate(model, request).ids[0];
  const auto first = std::find(free.begin(), free.end(), free[5]);
  EXPECT_EQ(stopped, std::vector<int32_t>(free.begin(), first + 1));
  request.stop_ids = {};
  request.max_length = static_cast<int64_t>(prompts[3].size()) + 2;
  EXPECT_EQ(generate(model, request).ids[0].size(), 2u);
}

TEST_P(GenerateTest, AConversationThatGrowsInACacheSaysTheSameAsOneReadAfresh) {
  KvCache cache(model.config, 1, model.compute, at::kCPU);
  std::vector<int32_t> history = prompts[7];
  for (int turn = 0; turn < 3; ++turn) {
    request.prompts = {history};
    const auto cached = generate(model, request, &cache).ids[0];
    EXPECT_EQ(cached, generate(model, request).ids[0]) << "turn " << turn;
    history.insert(history.end(), cached.begin(), cached.end());
    history.insert(history.end(), prompts[static_cast<size_t>(20 + turn)].begin(),
                   prompts[static_cast<size_t>(20 + turn)].end());
  }
  cache.truncate(0, 4);  // what was said from here on is taken back
  request.prompts = {{history.begin(), history.begin() + 9}};
  EXPECT_EQ(generate(model, request, &cache).ids, generate(model, request).ids);
}

TEST_P(GenerateTest, AnEmptyPromptIsRefused) {
  request.prompts = {{}};
  EXPECT_THROW(generate(model, request), Error);
}

INSTANTIATE_TEST_SUITE_P(Types, GenerateTest, testing::Values(at::kFloat, at::kBFloat16));

class GreedyTest : public GenerateTest {};

TEST_P(GreedyTest, EqualsReadingTheWholeTextForEveryToken) {
  for (const size_t prompt : {0u, 4u, 30u}) {
    request.prompts = {prompts[prompt]};
    EXPECT_EQ(generate(model, request).ids[0], slow_answer(prompts[prompt], 24));
  }
}

INSTANTIATE_TEST_SUITE_P(Float, GreedyTest, testing::Values(at::kFloat));

}  // namespace
}  // namespace isogrid
