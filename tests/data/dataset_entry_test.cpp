#include "data/dataset_entry.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "data/dataset_files.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "tests/data/prepared.h"

namespace isogrid {
namespace {

class Registry : public testing::Test {
 protected:
  DatasetEntry entry(const std::string& text) {
    folder.write("dataset_info.json", R"({"d": )" + text + "}");
    return find_datasets({"d"}, folder.path().string()).front();
  }
  void expect_refused(const std::string& text, ExitCode code, const std::string& part) {
    expect_refusal([&] { find_files(entry(text)); }, code, part);
  }
  TemporaryDirectory folder;
};

TEST_F(Registry, ColumnsThatAreGivenReplaceAllDefaults) {
  EXPECT_EQ(entry(R"({"file_name": "d.json"})").columns.query, "input");
  const DatasetEntry given = entry(R"({"file_name": "d.json", "columns": {"prompt": "q"}})");
  EXPECT_EQ(given.columns.prompt, "q");
  EXPECT_EQ(given.columns.query, "");
  EXPECT_EQ(given.columns.response, "");
  const DatasetEntry tagged = entry(R"({"file_name": "d.json", "tags": {"role_tag": "who"}})");
  EXPECT_EQ(tagged.tags.role_tag, "who");
  EXPECT_EQ(tagged.tags.content_tag, "");
  EXPECT_EQ(entry(R"({"file_name": "d.json", "formatting": "openai"})").tags.role_tag, "role");
}

TEST_F(Registry, RefusesWhatItCannotDo) {
  expect_refused(R"({"script_url": "x.py"})", ExitCode::configuration, "script_url");
  expect_refused(R"({"cloud_file_name": "s3://x"})", ExitCode::configuration, "cloud_file_name");
  expect_refused(R"({"ms_hub_url": "a/b"})", ExitCode::configuration, "ms_hub_url");
  expect_refused("{}", ExitCode::configuration, "file_name");
  expect_refused(R"({"file_name": "d.json", "formatting": "chatml"})", ExitCode::configuration,
                 "alpaca, sharegpt and openai");
  expect_refused(R"({"file_name": "d.json", "columns": {"promt": "q"}})", ExitCode::configuration,
                 "did you mean prompt");
  expect_refused(R"({"file_name": "d.json"})", ExitCode::missing_input, "d.json");
  folder.write("d.parquet", "PAR1");
  expect_refused(R"({"file_name": "d.parquet"})", ExitCode::refused_input, "to_json('d.jsonl'");
  folder.write("d.json.gz", "x");
  expect_refused(R"({"file_name": "d.json.gz"})", ExitCode::refused_input, "compressed");
}

TEST_F(Registry, NamesTheNearestDataset) {
  folder.write("dataset_info.json", R"({"identity": {"file_name": "x.json"}})");
  const auto find = [&](const std::string& name) {
    return [&, name] { find_datasets({name}, folder.path().string()); };
  };
  expect_refusal(find("identiy"), ExitCode::configuration, "did you mean identity");
  std::filesystem::remove(folder / "dataset_info.json");
  expect_refusal(find("identity"), ExitCode::missing_input, "dataset_info.json");
}

TEST_F(Registry, AFolderHoldsFilesOfOneType) {
  folder.write("many/b.jsonl", "");
  folder.write("many/a.json", "");
  const DatasetFiles files = find_files(entry(R"({"file_name": "many"})"));
  ASSERT_EQ(files.paths.size(), 2u);
  EXPECT_NE(files.paths[0].find("a.json"), std::string::npos);
  folder.write("many/c.txt", "");
  expect_refused(R"({"file_name": "many"})", ExitCode::refused_input, "one type");
}

class HubCache : public Registry {
 protected:
  HubCache() {
    if (const char* before = std::getenv("HF_HUB_CACHE")) before_ = before;
    ::setenv("HF_HUB_CACHE", (folder / "hub").c_str(), 1);
  }
  ~HubCache() override {
    if (before_.empty())
      ::unsetenv("HF_HUB_CACHE");
    else
      ::setenv("HF_HUB_CACHE", before_.c_str(), 1);
  }
  void add(const std::string& name, const std::string& text) {
    const std::string blob = "hub/datasets--org--name/blobs/" + std::to_string(++blobs_);
    folder.write(blob, text);
    folder.write("hub/datasets--org--name/refs/main", "c0");
    const std::filesystem::path link =
        folder.path() / "hub/datasets--org--name/snapshots/c0" / name;
    std::filesystem::create_directories(link.parent_path());
    const auto target = std::filesystem::relative(folder.path() / blob, link.parent_path());
    std::filesystem::create_symlink(target, link);
  }
  std::string before_;
  int blobs_ = 0;
};

TEST_F(HubCache, FindsTheFilesOfASplit) {
  add("data/train-00000-of-00002.jsonl", "{}\n");
  add("data/train-00001-of-00002.jsonl", "{}\n");
  add("data/validation.jsonl", "{}\n");
  add("README.md", "");
  const DatasetFiles train = find_files(entry(R"({"hf_hub_url": "org/name"})"));
  ASSERT_EQ(train.paths.size(), 2u);
  EXPECT_EQ(as_text(map_file(train, 0)->bytes()), "{}\n");
  EXPECT_EQ(find_files(entry(R"({"hf_hub_url": "org/name", "split": "val"})")).paths.size(), 1u);
  expect_refused(R"({"hf_hub_url": "org/name", "split": "test"})", ExitCode::refused_input,
                 "split 'test'");
}

TEST_F(HubCache, SaysHowToDownload) {
  expect_refused(R"({"hf_hub_url": "org/other"})", ExitCode::missing_input,
                 "hf download --repo-type dataset org/other");
}

TEST_F(HubCache, LinksStayInsideTheRepository) {
  add("train.jsonl", "{}\n");
  folder.write("secret.jsonl", "{}\n");
  std::filesystem::create_symlink(
      folder / "secret.jsonl",
      folder.path() / "hub/datasets--org--name/snapshots/c0/train-2.jsonl");
  const DatasetFiles files = find_files(entry(R"({"hf_hub_url": "org/name"})"));
  expect_refusal([&] { map_file(files, 0); }, ExitCode::refused_input, "outside");
}

TEST(PlainPaths, AreDatasetsWhoseColumnsAreGuessed) {
  DataRun run;
  const std::string head = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n";
  const auto shape = [&](const std::string& name, const std::string& text) {
    run.config.data.dataset = {run.folder.write(name, text)};
    return run.shape_of(0);
  };
  EXPECT_EQ(shape("1.json", R"([{"instruction": "a", "output": "b"}])"), head + "[b<|im_end|>\n]");
  EXPECT_EQ(shape("2.json", R"([{"question": "a", "answer": "b"}])"), head + "[b<|im_end|>\n]");
  EXPECT_EQ(shape("3.jsonl", R"({"messages": [{"role": "user", "content": "a"},)"
                             R"( {"role": "assistant", "content": "b"}]})"),
            head + "[b<|im_end|>\n]");
  EXPECT_EQ(shape("4.json", R"([{"conversations": [{"from": "human", "value": "a"},)"
                            R"( {"from": "gpt", "value": "b"}]}])"),
            head + "[b<|im_end|>\n]");
  EXPECT_EQ(shape("5.csv", "prompt,completion\na,b\n"), head + "[b<|im_end|>\n]");
  run.config.finetuning.stage = "pt";
  run.config.conversation.chat_template.reset();
  EXPECT_EQ(shape("6.txt", "a b\n"), "[a b" + DataRun::coder().edges.eos + "]");
}

TEST(Formats, RefuseWhatThisStageCannotTrainOn) {
  DataRun run;
  run.folder.write("d.json", "[]");
  const auto expect = [&](const std::string& more, const std::string& part) {
    run.describe("d.json", more);
    expect_refusal([&] { run.prepare(); }, ExitCode::configuration, part);
  };
  expect(R"("ranking": true)", "ranking");
  expect(R"("columns": {"prompt": "p", "kto_tag": "k"})", "kto_tag");
  expect(R"("columns": {"prompt": "p", "images": "i"})", "images");
}

TEST(Formats, SharegptRolesTakeTurns) {
  DataRun run;
  run.describe("d.json", R"("formatting": "sharegpt")");
  const auto reason = [&](const std::string& messages) -> std::string {
    run.folder.write("d.json", R"([{"conversations": [)" + messages + "]}]");
    try {
      run.prepare();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::refused_input);
      return error.what();
    }
    return "";
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  const std::string ask = R"({"from": "human", "value": "a"})";
  const std::string answer = R"({"from": "gpt", "value": "b"})";
  EXPECT_EQ(reason(ask + "," + answer), "");
  EXPECT_TRUE(has(reason(answer + "," + ask), "not the model's turn: 'human' or 'observation'"));
  EXPECT_TRUE(has(reason(ask), "must end with an answer"));
  EXPECT_TRUE(has(reason(""), "must end with an answer"));
  EXPECT_TRUE(has(reason(ask + R"(,{"from": "system", "value": "s"})"), "message 2"));
  EXPECT_TRUE(has(reason(ask + R"(,{"from": "function_call", "value": "{"})"), "function_call"));
  EXPECT_TRUE(has(reason(R"({"value": "a"},)" + answer), "no 'from'"));
  EXPECT_TRUE(has(reason(R"({"from": "human"},)" + answer), "message 1 has no 'value'"));
}

}  // namespace
}  // namespace isogrid
