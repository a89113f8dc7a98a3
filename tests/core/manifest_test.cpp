#include "core/manifest.h"

#include <gtest/gtest.h>

#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

std::string manifest_of(const std::string& files) {
  return R"({"format_version": 1, "step": 3, "files": {)" + files + "}}";
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
}

}  // namespace
}  // namespace isogrid
