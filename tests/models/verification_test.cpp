#include "models/verification.h"

#include <gtest/gtest.h>

#include "core/hash.h"
#include "core/json.h"
#include "core/manifest.h"
#include "models/listing.h"
#include "tests/core/gguf_bytes.h"
#include "tests/core/refusal.h"
#include "tests/core/safetensors_bytes.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

const std::string kOne("\x00\x00\x80\x3f", 4), kNan("\x00\x00\xc0\x7f", 4);

std::string float_file(const std::string& data) {
  return safetensors_bytes(R"({"w":{"dtype":"F32","shape":[)" + std::to_string(data.size() / 4) +
                               R"(],"data_offsets":[0,)" + std::to_string(data.size()) + "]}}",
                           data);
}

std::string damage(const TemporaryDirectory& folder) {
  std::string text;
  for (const auto& check : verify_model(folder.path().string()).checks)
    if (!check.sound) text += check.finding + "\n";
  return text;
}

class VerifyModel : public testing::Test {
 protected:
  VerifyModel() {
    folder_.write("config.json", R"({"model_type": "qwen3"})");
    folder_.write("tokenizer.json", "{}");
    folder_.write("model.safetensors", float_file(kOne + kOne));
  }
  void expect_damage(const std::string& part) {
    EXPECT_NE(damage(folder_).find(part), std::string::npos) << damage(folder_);
  }
  TemporaryDirectory folder_;
};

TEST_F(VerifyModel, PassesAGoodFolderAndCounts) {
  const auto report = verify_model(folder_.path().string());
  EXPECT_TRUE(report.sound()) << damage(folder_);
  EXPECT_EQ(report.tensors, 1u);
  EXPECT_EQ(report.bytes, 8u);
}

TEST_F(VerifyModel, NamesTheFirstValueThatIsNotFinite) {
  folder_.write("model.safetensors", float_file(kOne + kOne + kNan));
  expect_damage("tensor 'w': element 2 is the first");
}

TEST(VerifyGguf, FindsScalesThatAreNoNumbers) {
  const TemporaryDirectory folder;
  const auto file = [](const char* scale) {
    return GgufBytes()
        .begin(2, 0)
        .tensor("plain", {1}, /*F32=*/0, 0)
        .tensor("blocks", {64}, /*Q4_0=*/2, 32)
        .pad()
        .number(1.0f)
        .pad()
        .number(uint16_t{0x3c00})
        .zeros(16)
        .raw({scale, 2})
        .zeros(16)
        .pad()
        .str();
  };
  folder.write("a.gguf", file("\x00\x3c"));
  const auto report = verify_model(folder.path().string());
  EXPECT_TRUE(report.sound()) << damage(folder);
  EXPECT_EQ(report.tensors, 2u);
  folder.write("b.gguf", file("\x01\x7c"));
  EXPECT_NE(damage(folder).find("tensor 'blocks': block 1 is the first"), std::string::npos);
  folder.write("b.gguf", file("\x00\x3c").substr(0, 100));
  EXPECT_NE(damage(folder).find("is the file cut off"), std::string::npos);
}

TEST_F(VerifyModel, FindsEveryKindOfDamageAtOnce) {
  folder_.write("tokenizer.json", "{");
  folder_.write("model.safetensors", float_file(kOne).substr(0, 60));
  folder_.write("generation_config.json", "[}");
  expect_damage("tokenizer.json:1:2");
  expect_damage("model.safetensors: header length");
  expect_damage("generation_config.json:1:2");
}

TEST_F(VerifyModel, HoldsAManifestAgainstTheFiles) {
  const std::string weights = file_content(folder_ / "model.safetensors");
  Manifest manifest;
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const std::string content = file_content(folder_ / name);
    manifest.files[name] = {content.size(), to_hex(sha256(as_bytes(content)))};
  }
  folder_.write("MANIFEST.json", manifest_text(manifest, Json::object()));
  EXPECT_EQ(damage(folder_), "");
  std::string flipped = weights;
  flipped.back() ^= 1;
  folder_.write("model.safetensors", flipped);
  expect_damage("model.safetensors: SHA-256 is");
}

TEST_F(VerifyModel, MissingWeightsAreDamageAMissingPathIsMissing) {
  std::filesystem::remove(folder_ / "model.safetensors");
  expect_damage("holds no weights");
  expect_refusal([&] { verify_model(folder_ / "none"); }, ExitCode::missing_input, "none");
}

TEST_F(VerifyModel, TakesASingleFileToo) {
  EXPECT_TRUE(verify_model(folder_ / "model.safetensors").sound());
  EXPECT_FALSE(verify_model(folder_ / "config.json").sound());
}

TEST(Listing, SortsLayersAsNumbers) {
  EXPECT_TRUE(natural_less("layers.9.w", "layers.10.w"));
  EXPECT_FALSE(natural_less("layers.10.w", "layers.9.w"));
  EXPECT_TRUE(natural_less("a", "a.b"));
  EXPECT_TRUE(natural_less("a1b2", "a1b10"));
  EXPECT_FALSE(natural_less("a", "a"));
  EXPECT_NE(natural_less("a01", "a1"), natural_less("a1", "a01"));
}

TEST_F(VerifyModel, ListingShowsConfigAndTensorsOfAFolder) {
  const TensorListing listing = list_tensors(folder_.path().string());
  EXPECT_EQ(listing.format, "hf");
  EXPECT_EQ(listing.metadata["config"]["model_type"], "qwen3");
  ASSERT_EQ(listing.rows.size(), 1u);
  EXPECT_EQ(listing.rows[0].shape, std::vector<int64_t>{2});
}

}  // namespace
}  // namespace isogrid
