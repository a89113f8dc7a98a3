#include "configs/load.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "configs/values.h"
#include "core/error.h"
#include "tests/configs/config_text.h"

namespace isogrid {
namespace {

bool mentions(const std::vector<std::string>& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

std::string value_after(const std::string& text, std::string_view key) {
  LoadedConfig loaded = loaded_from(text);
  EXPECT_EQ(loaded.problems, std::vector<std::string>()) << text;
  for (const Field& field : fields_of(loaded.config))
    if (field.name == key) return yaml_of(field);
  return "no such key";
}

TEST(Defaults, AreThoseOfLlamaFactory) {
  const RunConfig config = loaded_from("").config;
  EXPECT_EQ(config.finetuning.stage, "sft");
  EXPECT_EQ(config.finetuning.finetuning_type, "lora");
  EXPECT_EQ(config.finetuning.lora_rank, 8);
  EXPECT_FALSE(config.finetuning.lora_alpha);
  EXPECT_EQ(config.finetuning.lora_target, std::vector<std::string>{"all"});
  EXPECT_EQ(config.quantisation.quantization_method, "bnb");
  EXPECT_TRUE(config.quantisation.double_quantization);
  EXPECT_EQ(config.optimizer.learning_rate, 5e-5);
  EXPECT_EQ(config.training.per_device_train_batch_size, 8);
  EXPECT_EQ(config.data.cutoff_len, 2048);
  EXPECT_EQ(config.generation.temperature, 0.95);
  EXPECT_EQ(config.generation.top_p, 0.7);
  EXPECT_EQ(config.saving.save_steps, 500);
  EXPECT_TRUE(config.training.do_train);
}

TEST(Values, HaveOneMeaningOrAreRefused) {
  EXPECT_EQ(value_after("learning_rate: 2e-4", "learning_rate"), "2e-04");
  EXPECT_EQ(value_after("max_samples: 1_000", "max_samples"), "1000");
  EXPECT_EQ(value_after("lora_rank: 0o17", "lora_rank"), "15");
  EXPECT_EQ(value_after("bf16: yes", "bf16"), "true");
  EXPECT_EQ(value_after("bf16: \"on\"", "bf16"), "true");
  EXPECT_EQ(value_after("lora_alpha:", "lora_alpha"), "null");
  EXPECT_EQ(value_after("quantization_bit: none", "quantization_bit"), "null");
  EXPECT_EQ(value_after("dataset: a, b ,c", "dataset"), "[a, b, c]");
  EXPECT_EQ(value_after("dataset: [a, 'b,c']", "dataset"), "[a, \"b,c\"]");
  EXPECT_EQ(value_after("run_name: 1e5", "run_name"), "1e5");
  EXPECT_EQ(value_after("gradient_checkpointing: Yes", "gradient_checkpointing"), "true");
  EXPECT_EQ(value_after("resume_from_checkpoint: out/checkpoint-5", "resume_from_checkpoint"),
            "out/checkpoint-5");
  EXPECT_EQ(value_after("lr_scheduler_kwargs: {min_lr: 1e-6}", "lr_scheduler_kwargs"),
            "{min_lr: 1e-06}");
  EXPECT_EQ(value_after("warmup_steps: 0.1", "warmup_steps"), "0.1");
  EXPECT_EQ(value_after("val_size: 2", "val_size"), "2");
}

TEST(Values, ThatAreWrongAreNamedWithWhatIsAllowed) {
  const struct {
    const char* text;
    const char* said;
  } cases[] = {
      {"lora_rank:", "c.yaml:1:1"},
      {"lora_rank: ", "lora_rank: nothing came; allowed: a whole number, at least 1"},
      {"lora_rank: 0", "c.yaml:1:12: lora_rank: '0' came, out of range; allowed: a whole number"},
      {"lora_rank: -3", "out of range"},
      {"lora_rank: 1.5", "not a whole number"},
      {"lora_rank: 017", "leading zero"},
      {"lora_rank: 99999999999999999999", "too large"},
      {"lora_rank: [8]", "a list came"},
      {"lora_rank: {a: 8}", "a mapping came"},
      {"lora_rank: true", "'true' came, not a whole number"},
      {"learning_rate: 1e400", "too large"},
      {"learning_rate: .nan", "not a finite number"},
      {"learning_rate: -1e-4", "out of range"},
      {"learning_rate: 2e-4x", "not a number"},
      {"lora_dropout: 1", "from 0 to below 1"},
      {"bf16: maybe", "'maybe' came, not true or false; allowed: true or false"},
      {"bf16: 2", "not true or false"},
      {"stage: sfft", "not among the choices; allowed: pt, sft"},
      {"val_size: 1", "one row or all of them"},
      {"val_size: 2.5", "neither a share nor a count"},
      {"warmup_steps: 1.5", "neither a share nor a count"},
      {"warmup_ratio: 1", "warmup_ratio: a number from 0 to below 1 is allowed, '1' came"},
      {"load_in_4bit: perhaps", "load_in_4bit: true or false is allowed"},
      {"device: mps", "Apple's GPUs are not supported"},
      {"device: cuda:x", "not a device; allowed: auto, cpu, cuda, cuda:<n>"},
      {"report_to: [tensorboard, tensorbord]", "'tensorbord' came, not among the choices"},
      {"interleave_probs: [0.5, x]", "'x' came, not a number"},
      {"dataset: [[a]]", "a list came inside the list"},
      {"lr_scheduler_kwargs: {min_lr: low}", "min_lr: 'low' came"},
      {"packing: {learning_rate: 1e-4}", "keys are flat: write learning_rate at the left margin"},
      {"- a\n- b", "lines of the form `key: value` are expected"},
      {"just a text", "lines of the form `key: value` are expected"},
  };
  for (const auto& each : cases)
    EXPECT_NE(problem_of(each.text).find(each.said), std::string::npos) << each.text << "\n"
                                                                        << problem_of(each.text);
}

TEST(Problems, ComeAllAtOnceInTheOrderOfTheFile) {
  const auto problems =
      loaded_from("lora_rnak: 8\nlearning_rate: x\nseed: -1\nfp16: true\nbf16: true\n").problems;
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_EQ(problems[0], "c.yaml:1:1: lora_rnak: not a key; did you mean lora_rank?");
  EXPECT_EQ(problems[1].find("c.yaml:2:16: learning_rate"), 0u);
  EXPECT_EQ(problems[2].find("c.yaml:3:7: seed"), 0u);
  EXPECT_EQ(problems[3].find("bf16 = true (c.yaml:5:1) and fp16 = true (c.yaml:4:1)"), 0u);
}

TEST(Problems, AreCutShortInAFileThatIsNoConfig) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "unknown_key_number_" + std::to_string(i) + ": 1\n";
  const auto problems = loaded_from(text).problems;
  EXPECT_EQ(problems.size(), 51u);
  EXPECT_EQ(problems.back(), "and 4950 more");
}

TEST(OtherNames, AreReadAndReportedOnce) {
  const struct {
    const char* written;
    const char* key;
    const char* value;
  } cases[] = {
      {"quantization_method: bitsandbytes", "quantization_method", "bnb"},
      {"bnb_4bit_compute_dtype: bfloat16", "compute_dtype", "bfloat16"},
      {"bnb_4bit_compute_dtype: fp16", "compute_dtype", "float16"},
      {"bnb_4bit_use_double_quant: false", "double_quantization", "false"},
      {"bnb_4bit_quant_type: fp4", "quantization_type", "fp4"},
      {"load_in_4bit: true", "quantization_bit", "4"},
      {"load_in_8bit: yes", "quantization_bit", "8"},
      {"load_in_8bit: false", "quantization_bit", "null"},
      {"warmup_ratio: 0.03", "warmup_steps", "0.03"},
      {"evaluation_strategy: epoch\nval_size: 0.1", "eval_strategy", "epoch"},
      {"torch_dtype: float32", "compute_dtype", "float32"},
      {"max_seq_length: 512", "cutoff_len", "512"},
      {"lora_r: 4", "lora_rank", "4"},
      {"disable_gradient_checkpointing: true", "gradient_checkpointing", "false"},
      {"disable_gradient_checkpointing: false", "gradient_checkpointing", "auto"},
      {"use_cpu: true", "device", "cpu"},
      {"model: a/b", "model_name_or_path", "a/b"},
  };
  for (const auto& each : cases) {
    const LoadedConfig loaded = loaded_from(each.written);
    EXPECT_EQ(loaded.problems, std::vector<std::string>()) << each.written;
    EXPECT_GE(loaded.notes.size(), 1u) << each.written;
    EXPECT_EQ(value_after(each.written, each.key), each.value) << each.written;
  }
  EXPECT_TRUE(loaded_from("dtype: float32").notes.empty());
}

TEST(OtherNames, WithTheSameValueAreFineAndWithAnotherAreNot) {
  EXPECT_EQ(problem_of("lora_rank: 8\nlora_r: 8"), "");
  EXPECT_EQ(problem_of("quantization_bit: 4\nload_in_4bit: true"), "");
  EXPECT_EQ(problem_of("lora_rank: 8\nlora_r: 16"),
            "c.yaml:2:1: lora_r = 16 and lora_rank = 8 (c.yaml:1:1): two names of one setting, two "
            "values; leave one out");
  EXPECT_NE(problem_of("load_in_4bit: true\nload_in_8bit: true").find("two values"),
            std::string::npos);
  EXPECT_NE(problem_of("gradient_checkpointing: true\ndisable_gradient_checkpointing: true"), "");
  EXPECT_EQ(problem_of("gradient_checkpointing: true\ndisable_gradient_checkpointing: false"), "");
  EXPECT_NE(problem_of("gradient_checkpointing: false\ndisable_gradient_checkpointing: false"), "");
  EXPECT_NE(problem_of("quantization_bit: 4\nload_in_4bit: false"), "");
  EXPECT_NE(problem_of("warmup_ratio: 0.1\nwarmup_steps: 100"), "");
}

TEST(Hints, AreAcceptedAndReportedOnce) {
  for (const char* text : {"flash_attn: fa2", "enable_liger_kernel: true", "torch_compile: true",
                           "dataloader_num_workers: 4", "ddp_timeout: 180000000",
                           "use_unsloth: true", "trust_remote_code: true", "gptq_use_exllama: true",
                           "gradient_checkpointing_kwargs: {use_reentrant: false}"}) {
    const LoadedConfig loaded = loaded_from(text);
    EXPECT_EQ(loaded.problems, std::vector<std::string>()) << text;
    ASSERT_EQ(loaded.notes.size(), 1u) << text;
    EXPECT_NE(loaded.notes[0].find("no effect here"), std::string::npos);
    EXPECT_TRUE(refusals(loaded.config, Groups::all()).empty()) << text;
  }
}

std::vector<std::string> refused_keys(const std::string& text, Groups reads) {
  std::vector<std::string> keys;
  for (const Refusal& refusal : refusals(loaded_from(text).config, reads))
    keys.push_back(refusal.key);
  return keys;
}

TEST(WhatNoCodeDoesYet, IsRefusedByNameWhereItIsNeeded) {
  const std::vector<std::string> none;
  EXPECT_EQ(refused_keys("", Groups::all()), none);
  EXPECT_EQ(refused_keys("deepspeed: x.json", Groups::all()),
            std::vector<std::string>{"deepspeed"});
  EXPECT_EQ(refused_keys("deepspeed: x.json", {Group::model, Group::generation}), none);
  EXPECT_EQ(refused_keys("deepspeed: null", Groups::all()), none);
  EXPECT_EQ(refused_keys("use_galore: false", Groups::all()), none);
  EXPECT_EQ(refused_keys("num_beams: 4", Group::generation), std::vector<std::string>{"num_beams"});
  EXPECT_EQ(refused_keys("num_beams: 4", Group::model), none);
  EXPECT_EQ(refused_keys("infer_backend: vllm", Group::generation),
            std::vector<std::string>{"infer_backend"});
  EXPECT_EQ(refused_keys("infer_backend: huggingface", Group::generation), none);
  EXPECT_EQ(refused_keys("stage: rm", Group::finetuning), std::vector<std::string>{"stage"});
}

TEST(Overrides, BeatTheFileAndTheLastOneHolds) {
  const auto loaded =
      loaded_from("lora_rank: 8\nwarmup_ratio: 0.1\n", {{"lora_rank", "4", "--lora_rank"},
                                                        {"lora_rank", "2", "--lora_rank"},
                                                        {"warmup_steps", "10", "--warmup_steps"}});
  EXPECT_EQ(loaded.problems, std::vector<std::string>());
  EXPECT_EQ(loaded.config.finetuning.lora_rank, 2);
  EXPECT_EQ(loaded.config.optimizer.warmup_steps, 10);
  EXPECT_EQ(loaded.config.places.at("lora_rank"), "--lora_rank");
}

TEST(Overrides, MayBeListsAndMappingsInYamlsOwnForm) {
  const auto loaded = loaded_from("", {{"dataset", "[a, 'b,c']", "--dataset"},
                                       {"lr_scheduler_kwargs", "{\"min_lr\": 1e-6}", "--x"},
                                       {"lora_target", "q_proj,v_proj", "--lora_target"},
                                       {"rope_scaling", "none", "--rope_scaling"}});
  EXPECT_EQ(loaded.problems, std::vector<std::string>());
  EXPECT_EQ(loaded.config.data.dataset, (std::vector<std::string>{"a", "b,c"}));
  EXPECT_EQ(loaded.config.optimizer.lr_scheduler_kwargs.at("min_lr"), 1e-6);
  EXPECT_EQ(loaded.config.finetuning.lora_target, (std::vector<std::string>{"q_proj", "v_proj"}));
}

TEST(Overrides, AreCheckedLikeTheFile) {
  const auto problems = loaded_from("", {{"lora_rnak", "4", "lora_rnak=4"},
                                         {"lora_rank", "x", "--lora_rank"},
                                         {"dataset", "['a", "--dataset"},
                                         {"run_name", "\xFF", "--run_name"}})
                            .problems;
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_TRUE(mentions(problems, "lora_rnak=4: lora_rnak: not a key; did you mean lora_rank?"));
  EXPECT_TRUE(mentions(problems, "--lora_rank: lora_rank: 'x' came"));
  EXPECT_TRUE(mentions(problems, "not YAML"));
  EXPECT_TRUE(mentions(problems, "not text"));
}

TEST(OutputDir, IsNamedAfterTheConfig) {
  const auto output_dir = [](const std::string& name, const std::string& text) {
    return read_run_config(parse_yaml(text, name), name, {}).config.run.output_dir;
  };
  EXPECT_EQ(output_dir("configs/my run.yaml", ""), "output/my run");
  EXPECT_EQ(output_dir("a.yml", ""), "output/a");
  EXPECT_EQ(output_dir("", "model_name_or_path: Qwen/Qwen3-0.6B"), "output/Qwen3-0.6B");
  EXPECT_EQ(output_dir("", "model_name_or_path: .."), "output/run");
  EXPECT_EQ(output_dir("", ""), "output/run");
  EXPECT_EQ(output_dir("a.yaml", "output_dir: here"), "here");
}

TEST(LoadRunConfig, TellsAMissingFileFromABadOne) {
  const auto code_of = [](const std::string& path, std::vector<Override> overrides) {
    try {
      load_run_config(path, overrides);
      return ExitCode::success;
    } catch (const Error& error) {
      return error.code();
    }
  };
  const Override quiet{"log_level", "error", "--log_level"};
  EXPECT_EQ(code_of("/nowhere/x.yaml", {quiet}), ExitCode::missing_input);
  EXPECT_EQ(code_of("", {quiet, {"lora_rank", "0", "--lora_rank"}}), ExitCode::configuration);
  EXPECT_EQ(code_of("", {quiet}), ExitCode::success);
}

}  // namespace
}  // namespace isogrid
