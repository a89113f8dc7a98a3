#include "core/manifest.h"

#include <gtest/gtest.h>

#include "core/json.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

std::string with_own_hash(std::string text) {
  text += ",\n  \"manifest_sha256\": \"";
  return text + to_hex(sha256(as_bytes(text))) + "\"\n}\n";
}

std::string manifest_of(const std::string& files) {
  return with_own_hash(R"({"format_version": 1, "step": 3, "files": {)" + files + "}");
}

std::string row(const std::string& name, uint64_t bytes, const std::string& content) {
  return "\"" + name + "\": {\"bytes\": " + std::to_string(bytes) + ", \"sha256\": \"" +
         to_hex(sha256(as_bytes(content))) + "\"}";
}

TEST(Manifest, FindsMissingExtraCutAndChangedFiles) {
  const TemporaryDirectory folder;
  for (const char* name : {"good", "cut", "changed", "extra", "MANIFEST.json"})
    folder.write(name, name);
  const Manifest manifest =
      parse_manifest(manifest_of(row("good", 4, "good") + "," + row("cut", 4, "cuts") + "," +
                                 row("changed", 7, "CHANGED") + "," + row("gone", 1, "x")),
                     "m");
  const auto problems = manifest_problems(manifest, InputDirectory(folder.path().string()));
  ASSERT_EQ(problems.size(), 4u);
  EXPECT_NE(problems[0].find("changed: SHA-256 is"), std::string::npos);
  EXPECT_NE(problems[1].find("cut: has 3 bytes, the manifest says 4"), std::string::npos);
  EXPECT_NE(problems[2].find("gone: is in the manifest but not in the folder"), std::string::npos);
  EXPECT_NE(problems[3].find("extra: is in the folder but not in the manifest"), std::string::npos);
}

TEST(Manifest, RefusesPathsNewerVersionsAndWrongFields) {
  const auto refused = [](const std::string& text, const char* part) {
    expect_refusal([&] { parse_manifest(text, "m"); }, ExitCode::refused_input, part);
  };
  refused(manifest_of(row("../secret", 1, "x")), "no plain file name");
  refused(manifest_of(row("/etc/passwd", 1, "x")), "no plain file name");
  refused(R"({"format_version": 2, "files": {}})", "format_version");
  refused(R"({"files": {}})", "'format_version' is missing");
  refused(R"({"format_version": 1})", "'files' is missing");
  refused(manifest_of(R"("a": {"bytes": -1, "sha256": "00"})"), "files.a.bytes");
  refused(manifest_of(R"("a": {"bytes": 1, "sha256": "00"})"), "files.a.sha256");
  refused("[]", "allowed is an object");
  refused(R"({"format_version": 1, "files": {}})", "does not end with its own hash");
}

TEST(Manifest, IsReadBackWithTheFactsOfOthers) {
  const Manifest written{.files = {{"a", {.bytes = 3, .sha256 = std::string(64, '7')}}}};
  const std::string text = manifest_text(written, {{"step", 12}});
  Json facts;
  const Manifest read = parse_manifest(text, "m", &facts);
  EXPECT_EQ(read.files.at("a").bytes, 3u);
  EXPECT_EQ(read.files.at("a").sha256, std::string(64, '7'));
  EXPECT_EQ(facts["step"], 12);
  EXPECT_EQ(text, with_own_hash(text.substr(0, text.rfind(",\n"))));
}

TEST(Manifest, NoBitAndNoEndOfItIsLostUnseen) {
  const Manifest manifest{.files = {{"a", {.bytes = 3, .sha256 = std::string(64, '7')}}}};
  const std::string text = manifest_text(manifest, {{"step", 12}, {"run_id", "x"}});
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string changed = text;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ 1 << bit % 8);
    EXPECT_THROW(parse_manifest(changed, "m"), Error) << "bit " << bit;
  }
  for (size_t size = 0; size < text.size(); ++size)
    EXPECT_THROW(parse_manifest(text.substr(0, size), "m"), Error) << size << " bytes";
  EXPECT_THROW(parse_manifest(text + " ", "m"), Error);
}

}  // namespace
}  // namespace isogrid
