#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "core/json.h"
#include "tests/core/refusal.h"
#include "tests/data/kd_folder.h"
#include "trainer/commands/commands.h"

namespace isogrid {
namespace {

using test::KdFolder;

/// What a command says on stdout about a folder.
std::string said(int (*command)(const Invocation&), const std::string& path, bool as_json) {
  Invocation invocation;
  invocation.positional = {path};
  invocation.options.json = as_json;
  testing::internal::CaptureStdout();
  try {
    command(invocation);
  } catch (...) {
    testing::internal::GetCapturedStdout();
    throw;
  }
  return testing::internal::GetCapturedStdout();
}

struct ThreeDocuments : KdFolder {
  ThreeDocuments() : KdFolder({document({1, 2, 3}), document({4, 5}), document({6, 7, 8, 9})}) {
    write();
  }
};

TEST(KdCommands, VerifyFindsAWholeCacheSound) {
  const ThreeDocuments cache;
  const Json report = Json::parse(said(run_verify, cache.path(), /*as_json=*/true));
  EXPECT_EQ(report["ok"], true);
  EXPECT_EQ(report["bytes"], 6 * cache.full_meta().bytes_per_label());
  EXPECT_NE(said(run_verify, cache.path(), false).find("3 documents, 6 labelled tokens"),
            std::string::npos);
}

TEST(KdCommands, VerifyNamesWhatIsMissingOrDamaged) {
  const ThreeDocuments cache;
  cache.plant<float>(1, kKdLogProbs, 2, std::numeric_limits<float>::quiet_NaN());
  expect_refusal([&] { said(run_verify, cache.path(), false); }, ExitCode::refused_input,
                 "shard-00001.safetensors");
  std::filesystem::remove(cache.path() + "/" + kd_shard_name(1));
  expect_refusal([&] { said(run_verify, cache.path(), false); }, ExitCode::refused_input,
                 "shard-00001.safetensors: is missing");
}

TEST(KdCommands, InspectListsItsTensorsShardByShard) {
  const ThreeDocuments cache;
  const Json listing = Json::parse(said(run_inspect, cache.path(), /*as_json=*/true));
  EXPECT_EQ(listing["format"], "kd_cache");
  EXPECT_EQ(listing["metadata"]["top_k"], 3);
  ASSERT_EQ(listing["tensors"].size(), 6u);
  EXPECT_EQ(listing["tensors"][0]["name"].get<std::string>().find("shard-00000.safetensors/"), 0u);
  for (const Json& tensor : listing["tensors"])
    if (tensor["name"] == concat("shard-00001.safetensors/", kKdIds)) {
      EXPECT_EQ(tensor["dtype"], "I32");
      EXPECT_EQ(tensor["shape"], Json::parse("[3, 3]"));
    }
}

}  // namespace
}  // namespace isogrid
