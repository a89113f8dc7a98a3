#include "configs/reference.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "tests/configs/config_text.h"

namespace isogrid {
namespace {

std::string printed_again(const std::string& text) {
  const LoadedConfig loaded = loaded_from(text);
  EXPECT_EQ(loaded.problems, std::vector<std::string>());
  EXPECT_EQ(loaded.notes, std::vector<std::string>());
  return config_as_yaml(loaded.config);
}

TEST(ResolvedConfig, ReadsBackAsTheSameBytes) {
  const char* texts[] = {
      "",
      "model_name_or_path: 'a: b # c'\ndefault_system: \"line\\n\\ttab \\\" \\\\ \xC3\xA9\"\n",
      "run_name: 'null'\nproject: '~'\nexperiment_name: 'true'\ntrackio_space_id: '- x'\n",
      "dataset: [a, 'b,c', ' d', 'null', '']\nlr_scheduler_kwargs: {min_lr: 1e-6, num_cycles: "
      ".5}\n",
      "learning_rate: 1e-300\nval_size: 0.1\nlogging_steps: 0.25\nsave_steps: 10\n",
      "resume_from_checkpoint: yes\ngradient_checkpointing: off\nkd_thinking: none\n",
      "disable_gradient_checkpointing: true\nload_in_4bit: true\nwarmup_ratio: 0.03\n",
      "deepspeed: {zero_optimization: {stage: 3}, x: [1, null, 'a b']}\nvllm_maxlen: 4096\n",
      "interleave_probs: [0.25, 0.75]\nmix_strategy: interleave_over\ndataset: a, b\n",
      "default_system: |\n  two\n  lines\n",
      "device: cuda:1\ncompute_dtype: bf16\nenable_thinking: null\nreport_to: none\n",
  };
  for (const char* text : texts) {
    const LoadedConfig loaded = loaded_from(text);
    ASSERT_EQ(loaded.problems, std::vector<std::string>()) << text;
    const std::string once = config_as_yaml(loaded.config);
    EXPECT_EQ(printed_again(once), once) << text;
  }
}

TEST(ResolvedConfig, WritesEveryKeyOut) {
  const std::string text = config_as_yaml({});
  RunConfig config;
  for (const Field& field : fields_of(config))
    EXPECT_NE(text.find("\n" + std::string(field.name) + ": "), std::string::npos) << field.name;
}

TEST(FieldList, NamesEveryKeyOnceAndSaysWhatItDoes) {
  std::set<std::string_view> seen;
  for (std::string_view name : known_keys()) EXPECT_TRUE(seen.insert(name).second) << name;
  RunConfig config;
  for (const Field& field : fields_of(config)) {
    EXPECT_FALSE(field.help.empty()) << field.name;
    EXPECT_TRUE(field.help.ends_with('.') || field.help.ends_with("...")) << field.name;
  }
}

TEST(Reference, IsWhatTheDocumentationSays) {
  std::ifstream file(ISOGRID_SOURCE_DIR "/docs/config.md");
  std::stringstream page;
  page << file.rdbuf();
  EXPECT_TRUE(page.str() == config_reference())
      << "docs/config.md is stale: trainer config --markdown > docs/config.md";
}

}  // namespace
}  // namespace isogrid
