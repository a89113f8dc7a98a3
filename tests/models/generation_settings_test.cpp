#include "models/generation_settings.h"

#include <gtest/gtest.h>

#include "core/json.h"
#include "tests/core/refusal.h"

namespace isogrid {
namespace {

GenerationChoices model_says(const char* json) {
  return read_generation_config(parse_json(json, "test"), "generation_config.json");
}

TEST(GenerationSettings, WithoutAnyChoiceAreTheDefaults) {
  const GenerationSettings settings = decide_generation({}, {});
  EXPECT_TRUE(settings.sampling.do_sample);
  EXPECT_EQ(settings.sampling.temperature, 0.95);
  EXPECT_EQ(settings.sampling.top_p, 0.7);
  EXPECT_EQ(settings.sampling.top_k, 50);
  EXPECT_EQ(settings.max_new_tokens, 1024);
  EXPECT_EQ(settings.max_length, 0);
}

TEST(GenerationSettings, TheUserWinsOverTheModelValueByValue) {
  const GenerationChoices model = model_says(
      R"({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95,
          "eos_token_id": [151645, 151643], "transformers_version": "5.0", "min_p": null})");
  GenerationChoices user;
  user.temperature = 1;
  const GenerationSettings settings = decide_generation(user, model);
  EXPECT_EQ(settings.sampling.temperature, 1.0);
  EXPECT_EQ(settings.sampling.top_k, 20);
  EXPECT_EQ(settings.sampling.top_p, 0.95);
  EXPECT_EQ(settings.sampling.min_p, 0.0);
  EXPECT_EQ(stop_ids(model, {151645, 9, -1}), (std::vector<int32_t>{9, 151643, 151645}));
}

TEST(GenerationSettings, TheLengthComesFromTheFirstSourceThatAnswers) {
  GenerationChoices user;
  user.max_length = 512;
  GenerationChoices model;
  model.max_new_tokens = 2048;
  GenerationSettings settings = decide_generation(user, model);
  EXPECT_EQ(settings.max_new_tokens, 0);
  EXPECT_EQ(settings.max_length, 512);

  user.max_new_tokens = 64;
  settings = decide_generation(user, model);
  EXPECT_EQ(settings.max_new_tokens, 64);
  EXPECT_EQ(settings.max_length, 0);
  EXPECT_EQ(decide_generation({}, model).max_new_tokens, 2048);
}

TEST(GenerationSettings, AValueOfTheWrongTypeIsRefusedByName) {
  for (const char* json :
       {"[]", R"({"top_k": "fifty"})", R"({"do_sample": 1})", R"({"top_k": 1.5})",
        R"({"top_k": 18446744073709551615})", R"({"eos_token_id": -1})",
        R"({"eos_token_id": [1, "2"]})", R"({"eos_token_id": 4294967296})"}) {
    expect_refusal([&] { model_says(json); }, ExitCode::refused_input, "generation_config.json");
  }
}

TEST(GenerationSettings, ValuesOutOfRangeAreRefusedTogether) {
  GenerationChoices user;
  user.temperature = -1;
  user.top_p = 2;
  user.max_new_tokens = 0;
  for (const char* name : {"temperature", "top_p", "max_new_tokens"}) {
    expect_refusal([&] { decide_generation(user, {}); }, ExitCode::configuration, name);
  }
}

}  // namespace
}  // namespace isogrid
