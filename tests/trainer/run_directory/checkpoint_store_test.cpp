#include "trainer/run_directory/checkpoint_store.h"

#include <gtest/gtest.h>

#include "core/json.h"
#include "core/manifest.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "tests/trainer/run_directory/small_checkpoint.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

using Steps = std::vector<int64_t>;

class CheckpointStoreTest : public testing::Test {
 protected:
  void damage(const std::string& path) {
    std::string content = file_content(path);
    content[content.size() / 2] ^= 1;
    std::ofstream(path, std::ios::binary) << content;
  }
  std::string in(const std::string& name) const { return folder_ / ("run/" + name); }

  TemporaryDirectory folder_{memory_directory()};
  Quiet quiet_;
};

TEST_F(CheckpointStoreTest, CommitsAFolderWithItsManifest) {
  OpenRun open(folder_ / "run");
  save_small(open.store, 5);
  EXPECT_EQ(file_content(in("checkpoint-5/trainer_state.json")), "state of step 5\n");
  const Json manifest = read_json_file(in("checkpoint-5/MANIFEST.json"));
  EXPECT_EQ(manifest["format_version"], 1);
  EXPECT_EQ(manifest["step"], 5);
  EXPECT_EQ(manifest["run_id"], open.run.run_id());
  EXPECT_EQ(manifest["config_hash"], "c0");
  EXPECT_EQ(manifest["data_fingerprint"], "da");
  EXPECT_EQ(manifest["files"].size(), 3u);
  EXPECT_EQ(manifest["files"]["trainer_state.json"]["bytes"], 16);
  EXPECT_EQ(manifest["files"]["trainer_state.json"]["sha256"],
            to_hex(sha256(as_bytes("state of step 5\n"))));
  const CheckpointFacts facts = verify_checkpoint(in("checkpoint-5"));
  EXPECT_EQ(facts.step, 5);
  EXPECT_EQ(facts.run_id, open.run.run_id());
}

TEST_F(CheckpointStoreTest, EqualRunsWriteEqualBytes) {
  std::string manifests[2];
  for (std::string& manifest : manifests) {
    const TemporaryDirectory other(memory_directory());
    const OutputDirectory directory(other.path().string());
    CheckpointStore store(directory, "the same");
    save_small(store, 5);
    manifest = file_content(other / "checkpoint-5/MANIFEST.json");
  }
  EXPECT_EQ(manifests[0], manifests[1]);
}

TEST_F(CheckpointStoreTest, ListsByNumberAndIgnoresForeignNames) {
  OpenRun open(folder_ / "run");
  EXPECT_EQ(open.store.newest(), std::nullopt);
  for (const int64_t step : {9, 100, 20}) save_small(open.store, step);
  folder_.write("run/checkpoint-best/x", "");
  folder_.write("run/checkpoint-0200/x", "");
  folder_.write("run/checkpoint-300", "a file");
  fs::create_directory_symlink(in("checkpoint-9"), in("checkpoint-400"));
  EXPECT_EQ(open.store.steps(), (Steps{100, 20, 9}));
  EXPECT_EQ(open.store.newest()->facts.step, 100);
}

TEST_F(CheckpointStoreTest, EveryKindOfDamageIsNamed) {
  OpenRun open(folder_ / "run");
  save_small(open.store, 1);
  const auto problem = [&](const std::string& part) {
    expect_refusal([&] { verify_checkpoint(in("checkpoint-1")); }, ExitCode::refused_input, part);
    fs::remove_all(in("checkpoint-1"));
    save_small(open.store, 1);
    EXPECT_TRUE(check_checkpoint(in("checkpoint-1")).sound());
  };
  damage(in("checkpoint-1/adapter_model.safetensors"));
  problem("adapter_model.safetensors: SHA-256 is ");
  fs::resize_file(in("checkpoint-1/trainer_state.safetensors"), 10);
  problem("trainer_state.safetensors: has 10 bytes");
  fs::remove(in("checkpoint-1/trainer_state.json"));
  problem("trainer_state.json: is in the manifest but not in the folder");
  folder_.write("run/checkpoint-1/extra.bin", "");
  problem("extra.bin: is in the folder but not in the manifest");
  damage(in("checkpoint-1/MANIFEST.json"));
  problem("MANIFEST.json");
  fs::remove(in("checkpoint-1/MANIFEST.json"));
  problem("MANIFEST.json");
  save_small(open.store, 2);
  fs::remove_all(in("checkpoint-1"));
  fs::rename(in("checkpoint-2"), in("checkpoint-1"));
  problem("is of step 2, the folder's name says 1");
  expect_refusal([&] { verify_checkpoint(in("checkpoint-7")); }, ExitCode::missing_input,
                 "checkpoint-7");
}

TEST_F(CheckpointStoreTest, FallsBackByOneAndAsksBeforeMore) {
  OpenRun open(folder_ / "run");
  for (const int64_t step : {1, 2, 3}) save_small(open.store, step);
  damage(in("checkpoint-3/trainer_state.json"));
  EXPECT_EQ(open.store.newest()->facts.step, 2);
  damage(in("checkpoint-2/trainer_state.json"));
  expect_refusal([&] { open.store.newest(); }, ExitCode::refused_input,
                 "'resume_from_checkpoint: " + in("checkpoint-1") + "'");
  damage(in("checkpoint-1/trainer_state.json"));
  expect_refusal([&] { open.store.newest(); }, ExitCode::refused_input, "holds no sound");
}

TEST_F(CheckpointStoreTest, ADamagedStepIsSetAsideAndSavedAgain) {
  {
    OpenRun open(folder_ / "run");
    save_small(open.store, 3);
  }
  for (const int k : {1, 2}) {
    damage(in("checkpoint-3/trainer_state.json"));
    OpenRun open(folder_ / "run");
    save_small(open.store, 3);
    EXPECT_TRUE(check_checkpoint(in("checkpoint-3")).sound());
    EXPECT_TRUE(fs::is_directory(in(concat("checkpoint-3.damaged-", k))));
  }
}

TEST_F(CheckpointStoreTest, AStepIsSavedOnceByOneAttempt) {
  OpenRun open(folder_ / "run");
  save_small(open.store, 3);
  const auto before = fs::last_write_time(in("checkpoint-3/MANIFEST.json"));
  save_small(open.store, 3);
  EXPECT_EQ(fs::last_write_time(in("checkpoint-3/MANIFEST.json")), before);
  EXPECT_EQ(open.store.steps(), (Steps{3}));
}

TEST_F(CheckpointStoreTest, GoingOnFromAnOlderStepSetsLaterOnesAside) {
  {
    OpenRun open(folder_ / "run");
    for (const int64_t step : {1, 2, 3}) save_small(open.store, step);
  }
  damage(in("checkpoint-2/trainer_state.json"));
  OpenRun open(folder_ / "run");
  EXPECT_EQ(open.store.go_on_from(1), (Steps{3, 2}));
  EXPECT_EQ(open.store.steps(), (Steps{1}));
  EXPECT_TRUE(check_checkpoint(in("checkpoint-3.replaced-1")).sound());
  EXPECT_FALSE(check_checkpoint(in("checkpoint-2.damaged-1")).sound());
  save_small(open.store, 1);  // stopped again at once: what is there is this
  EXPECT_FALSE(fs::exists(in("checkpoint-1.replaced-1")));
  save_small(open.store, 2);
  EXPECT_EQ(open.store.newest()->facts.step, 2);
}

TEST_F(CheckpointStoreTest, ACheckpointOfAnotherRunIsLeftAlone) {
  {
    OpenRun other(folder_ / "other");
    save_small(other.store, 9);
  }
  OpenRun open(folder_ / "run");
  for (const int64_t step : {10, 11}) save_small(open.store, step);
  fs::rename(folder_ / "other/checkpoint-9", in("checkpoint-9"));
  EXPECT_EQ(open.store.retain({.limit = 1}), (Steps{10}));
  EXPECT_EQ(open.store.steps(), (Steps{11, 9}));
  fs::rename(in("checkpoint-9"), in("checkpoint-99"));
  EXPECT_EQ(open.store.steps(), (Steps{99, 11}));
  EXPECT_EQ(open.store.go_on_from(0), (Steps{11}));
}

TEST_F(CheckpointStoreTest, RetentionDeletesOnlyBehindAVerifiedOne) {
  OpenRun open(folder_ / "run");
  for (const int64_t step : {8, 9, 10}) save_small(open.store, step);
  damage(in("checkpoint-10/trainer_state.json"));
  EXPECT_EQ(open.store.retain({.limit = 1}), (Steps{8}));
  EXPECT_EQ(open.store.steps(), (Steps{10, 9}));
  save_small(open.store, 11);
  EXPECT_EQ(open.store.retain({.limit = 1, .exempt = {9}}), (Steps{10}));
  EXPECT_EQ(open.store.steps(), (Steps{11, 9}));
  EXPECT_EQ(open.store.retain({.limit = 1}), (Steps{9}));
  for (const auto& entry : fs::directory_iterator(folder_ / "run"))
    EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path();
}

TEST_F(CheckpointStoreTest, AFullDiskShowsBeforeTheFirstByte) {
  struct SmallDisk : IoCalls {
    int64_t free_bytes(int) override { return 100'000; }
  } disk;
  OpenRun open(folder_ / "run", disk);
  save_small(open.store, 1);
  // 30,000 + 64 KiB for the rest are 95,536; with a tenth to spare 105,089.
  expect_refusal(
      [&] { open.store.commit(small_facts(2), {text_file("a", std::string(30'000, 'x'))}); },
      ExitCode::io,
      "checkpoint-2: cannot be written, reserve: No space left on device; 102.6 KiB needed");
  EXPECT_EQ(open.store.steps(), (Steps{1}));
}

TEST_F(CheckpointStoreTest, AProducerThatGivesUpLeavesNothing) {
  OpenRun open(folder_ / "run");
  save_small(open.store, 1);
  std::vector<CheckpointFile> files = small_files(2);
  files.push_back({"late", 0, [](OutputFile&) { fail(ExitCode::numeric, "a moment is NaN"); }});
  expect_refusal([&] { open.store.commit(small_facts(2), files); }, ExitCode::numeric, "NaN");
  EXPECT_EQ(open.store.steps(), (Steps{1}));
  for (const auto& entry : fs::directory_iterator(folder_ / "run"))
    EXPECT_NE(entry.path().filename().string().front(), '.') << entry.path();
  save_small(open.store, 2);
  EXPECT_EQ(open.store.newest()->facts.step, 2);
}

TEST_F(CheckpointStoreTest, NamesThatCannotBeAreOurOwnMistake) {
  OpenRun open(folder_ / "run");
  for (const char* name : {"../x", "MANIFEST.json", "", ".hidden"})
    expect_refusal([&] { open.store.commit(small_facts(1), {text_file(name, "")}); },
                   ExitCode::internal, "cannot hold a file");
  expect_refusal(
      [&] {
        open.store.commit(small_facts(1), {text_file("a", ""), text_file("a", "")});
      },
      ExitCode::internal, "'a'");
}

}  // namespace
}  // namespace isogrid
