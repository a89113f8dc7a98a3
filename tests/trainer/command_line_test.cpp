#include "trainer/command_line.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "configs/values.h"
#include "core/error.h"

namespace isogrid {
namespace {

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

CommandLine parsed(const std::string& line) { return parse_command_line(words_of(line)); }

/// "key=value key=value", in the order given.
std::string overrides_of(const std::string& line) {
  std::string text;
  for (const Override& each : parsed(line).overrides)
    text += (text.empty() ? "" : " ") + each.key + "=" + each.value;
  return text;
}

std::string usage_error(const std::string& line) {
  try {
    parsed(line);
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage) << line;
    return error.what();
  }
}

TEST(CommandLine, TrainsWhenNoCommandIsNamed) {
  EXPECT_EQ(parsed("--config a.yaml").command->name, "train");
  EXPECT_EQ(parsed("--stage sft").command->name, "train");
  EXPECT_EQ(parsed("lora_rank=4").command->name, "train");
  EXPECT_EQ(parsed("a.yaml").command->name, "train");
  EXPECT_EQ(parsed("a.yaml").options.config, "a.yaml");
  EXPECT_EQ(parsed("train --config=a.yaml lora_rank=4").options.config, "a.yaml");
  EXPECT_EQ(parsed("--version").command->name, "version");
  EXPECT_EQ(parsed("--help").command->name, "help");
  EXPECT_TRUE(parsed("eval --help").wants_help);
}

TEST(CommandLine, TakesEveryKeyAsAFlagAndAsAnOverride) {
  RunConfig config;
  for (const Field& field : fields_of(config)) {
    const std::string key(field.name);
    EXPECT_EQ(overrides_of("train --" + key + " auto"), key + "=auto");
    EXPECT_EQ(overrides_of("train --" + key + "=auto"), key + "=auto");
    EXPECT_EQ(overrides_of("train " + key + "=auto"), key + "=auto");
  }
}

TEST(CommandLine, ReadsSwitchesWithAndWithoutAWord) {
  EXPECT_EQ(overrides_of("--do_train"), "do_train=true");
  EXPECT_EQ(overrides_of("--do_train --bf16 false"), "do_train=true bf16=false");
  EXPECT_EQ(overrides_of("--do_train lora_rank=4"), "do_train=true lora_rank=4");
  EXPECT_EQ(overrides_of("--bf16 no --fp16 0"), "bf16=no fp16=0");
  EXPECT_EQ(overrides_of("--gradient_checkpointing --lora_rank 4"),
            "gradient_checkpointing=true lora_rank=4");
  EXPECT_EQ(overrides_of("--gradient_checkpointing auto"), "gradient_checkpointing=auto");
  EXPECT_EQ(overrides_of("--resume_from_checkpoint out/checkpoint-3"),
            "resume_from_checkpoint=out/checkpoint-3");
  EXPECT_EQ(overrides_of("--resume_from_checkpoint"), "resume_from_checkpoint=true");
  EXPECT_EQ(overrides_of("--load_in_4bit --flash_attn fa2"), "load_in_4bit=true flash_attn=fa2");
  EXPECT_EQ(overrides_of("--trust_remote_code --warmup_ratio 0.1"),
            "trust_remote_code=true warmup_ratio=0.1");
  EXPECT_EQ(overrides_of("--qat_start_step -1"), "qat_start_step=-1");
}

TEST(CommandLine, TakesValuesThatLookLikeFlagsAfterTheEqualsSign) {
  EXPECT_EQ(parsed("generate --prompt=--json").options.prompt, "--json");
  EXPECT_EQ(parsed("generate --prompt -x --json").options.prompt, "-x");
  EXPECT_EQ(parsed("generate --prompt --unheard_of").options.prompt, "--unheard_of");
  EXPECT_EQ(parsed("generate --prompt=").options.prompt, std::nullopt);
  EXPECT_EQ(parse_command_line({"generate", "--prompt", "two words = x"}).options.prompt,
            "two words = x");
}

TEST(CommandLine, HasTheFlagsOfItsCommands) {
  const CommandLine eval =
      parsed("eval --model_name_or_path D --text_file T --eval_window 64 --eval_stride 32 --json");
  EXPECT_EQ(eval.options.text_file, "T");
  EXPECT_EQ(eval.options.eval_window, 64);
  EXPECT_EQ(eval.options.eval_stride, 32);
  EXPECT_TRUE(eval.options.json);
  EXPECT_EQ(overrides_of("logits --model_name_or_path D --token_ids I --output O --dtype float32"),
            "model_name_or_path=D dtype=float32");
  EXPECT_TRUE(parsed("tokenize --model_name_or_path D --decode").options.decode);
  EXPECT_EQ(parsed("inspect dir/x --json").operands, std::vector<std::string>{"dir/x"});
  EXPECT_EQ(parsed("inspect ./a=b --json").operands, std::vector<std::string>{"./a=b"});
  EXPECT_EQ(parsed("convert A B --outtype q4_k_m").operands.size(), 2u);
  EXPECT_EQ(parsed("show-batch run --step 7").options.step, 7);
  EXPECT_EQ(parsed("export --export_formats hf,gguf:q4_0").overrides.at(0).value, "hf,gguf:q4_0");
}

TEST(CommandLine, RefusesWhatDoesNotFitAllAtOnce) {
  const struct {
    const char* line;
    const char* said;
  } cases[] = {
      {"genrate", "trainer genrate: not a command; did you mean generate?"},
      {"train --lora_rnak 4", "--lora_rnak: not a flag; did you mean lora_rank?"},
      {"train --lora-rank 4", "did you mean lora_rank?"},
      {"eval --text_fil T", "did you mean text_file?"},
      {"train --lora_rank", "--lora_rank: a value is missing"},
      {"train --lora_rank --bf16", "--lora_rank: a value is missing"},
      {"train --token_ids x", "--token_ids: not a flag of train; it belongs to logits"},
      {"eval --eval_window 0", "--eval_window: '0' came, out of range"},
      {"eval --eval_window wide", "not a whole number"},
      {"generate --json=maybe", "not true or false"},
      {"train -x", "flags begin with two dashes"},
      {"train something", "'something': train takes no such word"},
      {"verify", "verify: DIR is expected"},
      {"verify a b", "'b': verify takes no more words"},
      {"convert A", "convert: FROM TO is expected"},
      {"train a.yaml b.yaml", "a second config beside a.yaml"},
  };
  for (const auto& each : cases)
    EXPECT_NE(usage_error(each.line).find(each.said), std::string::npos) << each.line << "\n"
                                                                         << usage_error(each.line);
  EXPECT_NE(usage_error("train --lora_rnak 4 --oops x --bf16=1 --lora_rank").find("3 problems"),
            std::string::npos);
}

TEST(CommandLine, KnowsTheWholeGuideOfTheFourBitModel) {
  EXPECT_EQ(overrides_of("--stage sft --model_name_or_path Qwen/Qwen2.5-3B-Instruct "
                         "--dataset zen_identity --template qwen --finetuning_type lora "
                         "--quantization_method bitsandbytes --quantization_bit 4 "
                         "--bnb_4bit_compute_dtype bfloat16 --bnb_4bit_use_double_quant true "
                         "--bnb_4bit_quant_type nf4 --lora_target all --lora_rank 8 "
                         "--lora_alpha 16 --output_dir ./output/zen-nano-4bit "
                         "--per_device_train_batch_size 4 --gradient_accumulation_steps 2 "
                         "--learning_rate 2e-4 --num_train_epochs 3 --do_train"),
            "stage=sft model_name_or_path=Qwen/Qwen2.5-3B-Instruct dataset=zen_identity "
            "template=qwen finetuning_type=lora quantization_method=bitsandbytes "
            "quantization_bit=4 bnb_4bit_compute_dtype=bfloat16 bnb_4bit_use_double_quant=true "
            "bnb_4bit_quant_type=nf4 lora_target=all lora_rank=8 lora_alpha=16 "
            "output_dir=./output/zen-nano-4bit per_device_train_batch_size=4 "
            "gradient_accumulation_steps=2 learning_rate=2e-4 num_train_epochs=3 do_train=true");
  const char* lines[] = {
      "train --quantization_bit 4 --gradient_checkpointing true --per_device_train_batch_size 1 "
      "--gradient_accumulation_steps 16 --max_grad_norm 0.3 --warmup_ratio 0.03",
      "export --model_name_or_path Qwen/Qwen2.5-3B-Instruct --adapter_name_or_path "
      "./output/zen-nano-4bit --export_quantization_bit 4 --export_dir ./models/merged",
      "--quantization_method gptq --quantization_bit 4 --gptq_use_exllama True --dataset x",
  };
  for (const char* line : lines)
    EXPECT_EQ(read_run_config({}, "", parsed(line).overrides).problems, std::vector<std::string>())
        << line;
}

TEST(Commands, HaveDistinctNamesAndOnlyKnownOptions) {
  CommandOptions options;
  const std::vector<Field> fields = fields_of(options);
  std::set<std::string_view> names, used;
  for (const Command& command : commands()) {
    EXPECT_TRUE(names.insert(command.name).second) << command.name;
    EXPECT_LE(command.fewest_operands, command.most_operands);
    for (std::string_view option : command.options) {
      used.insert(option);
      EXPECT_TRUE(std::any_of(fields.begin(), fields.end(), [&](const Field& field) {
        return field.name == option;
      })) << option;
    }
  }
  for (const Field& field : fields) {
    EXPECT_TRUE(used.contains(field.name)) << field.name;
    const auto& keys = known_keys();
    EXPECT_EQ(std::count(keys.begin(), keys.end(), field.name), 0) << field.name;
  }
}

TEST(Help, FitsTheWidthOfATerminal) {
  std::string pages = help_page();
  for (const Command& command : commands()) pages += help_page(command);
  std::istringstream lines(pages);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
}

TEST(Invocation, SaysSoWhenACommandHasNoCode) {
  for (const Command& command : commands()) {
    if (command.run) continue;
    CommandLine line;
    line.command = &command;
    try {
      make_invocation(std::move(line));
      ADD_FAILURE() << command.name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::configuration);
      EXPECT_NE(std::string(error.what()).find("not supported yet"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace isogrid
