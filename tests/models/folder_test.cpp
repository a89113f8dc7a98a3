#include "models/folder.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "models/folder_writer.h"
#include "models/hub_cache.h"
#include "models/weight_index.h"
#include "tests/core/refusal.h"
#include "tests/core/safetensors_bytes.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

/// A file of one-byte tensors with these names.
std::string tensors(const std::vector<std::string>& names) {
  std::string json, data;
  for (size_t i = 0; i < names.size(); ++i) {
    json += (i ? ",\"" : "\"") + names[i] + R"(":{"dtype":"U8","shape":[1],"data_offsets":[)" +
            std::to_string(i) + "," + std::to_string(i + 1) + "]}";
    data += static_cast<char>('0' + i);
  }
  return safetensors_bytes("{" + json + "}", data);
}

WeightIndex weights_in(const TemporaryDirectory& folder) {
  return open_weights(InputDirectory(folder.path().string()));
}

TEST(ModelFolder, KeepsWhatItDoesNotKnow) {
  const TemporaryDirectory folder;
  folder.write("config.json",
               R"({"zeta": [1, 2.5], "model_type": "qwen3", "rms_norm_eps": 1e-06})");
  folder.write("generation_config.json", R"({"eos_token_id": [1, 2]})");
  folder.write("tokenizer.json", "{}");
  folder.write("tokenizer_config.json", R"({"chat_template": "{{ x }}"})");
  folder.write("merges.txt", "#version\n");
  const ModelFolder model = open_model_folder(folder.path().string());
  EXPECT_EQ(model.config.begin().key(), "zeta");
  EXPECT_EQ(model.generation_config->at("eos_token_id").size(), 2u);
  EXPECT_EQ(model.chat_template, "{{ x }}");
  EXPECT_EQ(model.tokenizer_files.size(), 3u);

  write_model_folder_files(model, model.config, folder / "out");
  EXPECT_EQ(read_json_file(folder / "out/config.json"), model.config);
  EXPECT_EQ(file_content(folder / "out/config.json"), dump_json(model.config));
  for (const char* name : {"generation_config.json", "tokenizer_config.json", "merges.txt"})
    EXPECT_EQ(file_content(folder / (std::string("out/") + name)), file_content(folder / name));
}

TEST(ModelFolder, TakesTheTemplateFromItsFileFirst) {
  const TemporaryDirectory folder;
  folder.write("config.json", "{}");
  folder.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(open_model_folder(folder.path().string()).chat_template, "d");
  folder.write("chat_template.jinja", "j");
  EXPECT_EQ(open_model_folder(folder.path().string()).chat_template, "j");
}

TEST(ModelFolder, SaysWhatIsMissing) {
  const TemporaryDirectory folder;
  const std::string path = folder.path().string();
  expect_refusal([&] { open_model_folder(folder / "none"); }, ExitCode::missing_input, "none");
  expect_refusal([&] { open_model_folder(path); }, ExitCode::missing_input, "config.json");
  folder.write("adapter_config.json", "{}");
  expect_refusal([&] { open_model_folder(path); }, ExitCode::missing_input, "adapter_name_or_path");
  expect_refusal([&] { open_model_folder(folder.write("file", "x")); }, ExitCode::refused_input,
                 "a folder is needed");
  expect_refusal([&] { weights_in(folder); }, ExitCode::missing_input, "holds no weights");
  folder.write("pytorch_model.bin", "x");
  expect_refusal([&] { weights_in(folder); }, ExitCode::refused_input, "save_pretrained");
}

TEST(WeightIndex, FindsTensorsInOneFileOrInShards) {
  const TemporaryDirectory single, sharded;
  single.write("model.safetensors", tensors({"b", "a"}));
  EXPECT_EQ(as_text(weights_in(single).find("a")->bytes()), "1");
  sharded.write("s1.safetensors", tensors({"a", "c"}));
  sharded.write("s2.safetensors", tensors({"b"}));
  sharded.write(
      "model.safetensors.index.json",
      R"({"metadata":{"total_size":3.0,"x":{}},"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","c":"s1.safetensors"}})");
  const WeightIndex index = weights_in(sharded);
  EXPECT_EQ(index.total_bytes(), 3u);
  EXPECT_EQ(index.files().size(), 2u);
  EXPECT_EQ(index.tensors()[2].name, "c");
  EXPECT_EQ(as_text(index.find("c")->bytes()), "1");
  EXPECT_EQ(index.find("d"), nullptr);
}

TEST(WeightIndex, ListsAllDisagreementsWithTheFiles) {
  const TemporaryDirectory folder;
  folder.write("s1.safetensors", tensors({"a", "b", "c"}));
  folder.write("s2.safetensors", tensors({"b"}));
  folder.write(
      "model.safetensors.index.json",
      R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","d":"s2.safetensors"}})");
  for (const char* line :
       {"tensor 'c' is in 's1.safetensors' but not in the index",
        "tensor 'b' is in 's1.safetensors' too, the index names 's2.safetensors'",
        "tensor 'd' is not in 's2.safetensors'"})
    expect_refusal([&] { weights_in(folder); }, ExitCode::refused_input, line);
}

TEST(WeightIndex, NamesAMissingShardAndAWrongTotal) {
  const TemporaryDirectory folder;
  folder.write("model.safetensors.index.json",
               R"({"metadata":{"total_size":2},"weight_map":{"a":"s1.safetensors"}})");
  expect_refusal([&] { weights_in(folder); }, ExitCode::missing_input, "s1.safetensors");
  folder.write("s1.safetensors", tensors({"a"}));
  expect_refusal([&] { weights_in(folder); }, ExitCode::refused_input, "metadata.total_size");
}

TEST(WriteWeights, CutsIntoShardsThatReadBackAndCleansUpBehindItself) {
  const TemporaryDirectory folder;
  const auto produce = [](const TensorEntry& entry, OutputFile& file) {
    file.append(as_bytes(std::string(entry.bytes(), entry.name[0])));
  };
  const std::vector<TensorEntry> entries{{.name = "a", .dtype = Dtype::u8, .shape = {600}},
                                         {.name = "b", .dtype = Dtype::u8, .shape = {500}},
                                         {.name = "c", .dtype = Dtype::u8, .shape = {400}},
                                         {.name = "d", .dtype = Dtype::u8, .shape = {5000}}};
  const auto three = write_weights(folder.path().string(), entries, produce, 1e-6);
  EXPECT_EQ(three.front(), "model-00001-of-00003.safetensors");
  EXPECT_EQ(three.back(), "model.safetensors.index.json");
  EXPECT_EQ(weights_in(folder).total_bytes(), 6500u);
  EXPECT_EQ(as_text(weights_in(folder).find("c")->bytes()), std::string(400, 'c'));

  const auto one = write_weights(folder.path().string(), entries, produce, 5);
  EXPECT_EQ(one, std::vector<std::string>{"model.safetensors"});
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  write_weights(folder.path().string(), entries, produce, 1e-6);
  EXPECT_FALSE(fs::exists(folder / "model.safetensors"));
  EXPECT_EQ(weights_in(folder).total_bytes(), 6500u);
}

class HubCache : public testing::Test {
 protected:
  HubCache() {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) unsetenv(name);
    setenv("HF_HOME", cache_.path().c_str(), 1);
    cache_.write("hub/models--org--name/refs/main", "abc123\n");
    cache_.write("hub/models--org--name/refs/refs/pr/1", "def456");
    cache_.write("hub/models--org--name/blobs/5", R"({"model_type": "llama"})");
    for (const char* commit : {"abc123", "def456"}) {
      const fs::path snapshot = cache_ / (std::string("hub/models--org--name/snapshots/") + commit);
      fs::create_directories(snapshot);
      fs::create_symlink("../../blobs/5", snapshot / "config.json");
    }
  }
  ~HubCache() override { unsetenv("HF_HOME"); }

  TemporaryDirectory cache_;
};

TEST_F(HubCache, ResolvesBranchesCommitsAndFolders) {
  EXPECT_TRUE(resolve_model("org/name").ends_with("snapshots/abc123"));
  EXPECT_TRUE(resolve_model("org/name", "def456").ends_with("snapshots/def456"));
  EXPECT_TRUE(resolve_model("org/name", "refs/pr/1").ends_with("snapshots/def456"));
  EXPECT_EQ(resolve_model(cache_.path().string()), cache_.path().string());
  EXPECT_EQ(open_model_folder(resolve_model("org/name")).config["model_type"], "llama");
}

TEST_F(HubCache, TellsHowToDownloadWhatIsNotThere) {
  expect_refusal([] { resolve_model("org/other"); }, ExitCode::missing_input,
                 "hf download org/other");
  expect_refusal([] { resolve_model("org/name", "v2"); }, ExitCode::missing_input, "--revision v2");
  expect_refusal([] { resolve_model("./models/x"); }, ExitCode::missing_input,
                 "no such file or folder");
  expect_refusal([] { resolve_model("org/name", "../../x"); }, ExitCode::refused_input, "revision");
  cache_.write("hub/models--org--name/refs/evil", "../../../../etc");
  expect_refusal([] { resolve_model("org/name", "evil"); }, ExitCode::refused_input, "no commit");
}

}  // namespace
}  // namespace isogrid
