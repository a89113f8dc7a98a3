#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/configs/config_text.h"

namespace isogrid {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What of a config no code will do, even where the code of its group is there: keys of other
/// stacks, single keys and single values.
std::vector<std::string> missing_in(const RunConfig& config) {
  RunConfig current = config;
  const std::vector<Field> fields = fields_of(current);
  std::vector<std::string> keys;
  for (const Refusal& refusal : refusals(config, Groups::all())) {
    const auto field = std::find_if(fields.begin(), fields.end(),
                                    [&](const Field& f) { return f.name == refusal.key; });
    const bool is_family =
        field != fields.end() && field->group == static_cast<int>(Group::optimizer_family);
    const bool is_value = refusal.text.find("not supported yet; allowed") != std::string::npos;
    if (field == fields.end() || field->is_planned || is_family || is_value)
      keys.push_back(refusal.key);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

struct Example {
  const char* file;
  std::vector<std::string> missing;
};

const Example examples[] = {
    {"dora_sft", {}},
    {"freeze_llama_pro", {"use_llama_pro"}},
    {"freeze_sft", {}},
    {"full_fp8", {"fp8", "fp8_backend"}},
    {"full_galore", {"galore_layerwise", "galore_rank", "galore_target", "use_galore"}},
    {"full_muon", {"use_muon"}},
    {"full_sft", {}},
    {"full_sft_deepspeed", {"deepspeed"}},
    {"inference", {}},
    {"inference_lora", {}},
    {"inference_vllm", {"infer_backend", "vllm_enforce_eager"}},
    {"lora_dpo", {"stage"}},
    {"lora_kto", {"stage"}},
    {"lora_ppo", {"stage"}},
    {"lora_pretrain", {}},
    {"lora_reward", {"stage"}},
    {"lora_sft", {}},
    {"lora_sft_deepspeed", {"deepspeed"}},
    {"lora_sft_ray", {"ray_num_workers"}},
    {"loraplus_sft", {}},
    {"merge_gptq", {}},
    {"merge_lora", {}},
    {"oft_sft", {"finetuning_type", "oft_block_size", "oft_target"}},
    {"pissa_sft", {}},
    {"predict", {"do_predict", "predict_with_generate"}},
    {"preprocess", {}},
    {"qlora_awq", {}},
    {"qlora_bnb", {}},
    {"qlora_eetq", {"quantization_method"}},
    {"qlora_fsdp", {"fsdp"}},
    {"qlora_gptq", {}},
    {"qlora_hqq", {"quantization_method"}},
    {"vision_sft", {"freeze_vision_tower", "image_max_pixels", "video_max_pixels"}},
};

const std::filesystem::path corpus = ISOGRID_SOURCE_DIR "/tests/configs/corpus";

TEST(ExampleConfigs, ParseAndOnlyWhatIsMissingIsRefused) {
  for (const Example& example : examples) {
    const LoadedConfig loaded =
        loaded_from(text_of(corpus / (std::string(example.file) + ".yaml")));
    EXPECT_EQ(loaded.problems, std::vector<std::string>()) << example.file;
    EXPECT_EQ(missing_in(loaded.config), example.missing) << example.file;
  }
}

TEST(ExampleConfigs, AreAllInTheTable) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(corpus))
    files += entry.path().extension() == ".yaml";
  EXPECT_EQ(files, std::size(examples));
}

TEST(OurConfigs, ParseWithoutAProblem) {
  for (const auto& entry : std::filesystem::directory_iterator(ISOGRID_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    EXPECT_EQ(loaded_from(text_of(entry.path())).problems, std::vector<std::string>())
        << entry.path();
  }
}

TEST(ZenNano4bit, MeansWhatItSays) {
  const LoadedConfig loaded =
      loaded_from(text_of(ISOGRID_SOURCE_DIR "/configs/zen_nano_4bit.yaml"));
  EXPECT_EQ(loaded.notes.size(), 4u);
  const RunConfig& config = loaded.config;
  EXPECT_EQ(config.model.model_name_or_path, "Qwen/Qwen2.5-3B-Instruct");
  EXPECT_EQ(config.finetuning.stage, "sft");
  EXPECT_EQ(config.quantisation.quantization_method, "bnb");
  EXPECT_EQ(config.quantisation.quantization_bit, 4);
  EXPECT_EQ(config.run.compute_dtype, "bfloat16");
  EXPECT_TRUE(config.quantisation.double_quantization);
  EXPECT_EQ(config.quantisation.quantization_type, "nf4");
  EXPECT_EQ(config.finetuning.lora_rank, 8);
  EXPECT_EQ(config.finetuning.lora_alpha, 16);
  EXPECT_EQ(config.data.dataset, std::vector<std::string>{"zen_identity"});
  EXPECT_EQ(config.conversation.chat_template, "qwen");
  EXPECT_EQ(config.optimizer.learning_rate, 2e-4);
  EXPECT_EQ(config.training.num_train_epochs, 3);
  EXPECT_EQ(config.training.per_device_train_batch_size, 4);
  EXPECT_EQ(config.training.gradient_accumulation_steps, 2);
}

}  // namespace
}  // namespace isogrid
