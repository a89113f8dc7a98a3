#include "core/io_writer.h"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include "tests/core/faulty_io.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

std::string big_text(char c) { return std::string(600 << 10, c); }

TEST(WriteFileDurably, ReplacesTheFileAndTellsItsHash) {
  const TemporaryDirectory folder;
  const std::string path = folder.write("a", "old");
  const WrittenFile written = write_file_durably(path, as_bytes("new"));
  EXPECT_EQ(file_content(path), "new");
  EXPECT_EQ(written.bytes, 3u);
  EXPECT_EQ(written.sha256, sha256(as_bytes("new")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(WriteFileDurably, HashesLargeFilesAsTheyLeave) {
  const TemporaryDirectory folder;
  std::string text;
  for (int i = 0; i < 700'000; ++i) text += std::to_string(i);
  const WrittenFile written = write_file_durably(folder / "a", text.size(), [&](OutputFile& file) {
    for (size_t at = 0, step = 1; at < text.size(); at += step, step = step * 3 % 600'011)
      file.append(as_bytes(text.substr(at, step)));
  });
  EXPECT_EQ(file_content(folder / "a"), text);
  EXPECT_EQ(written.sha256, sha256(as_bytes(text)));
}

TEST(WriteFileDurably, ReplacesALinkInsteadOfFollowingIt) {
  const TemporaryDirectory folder;
  const std::string precious = folder.write("precious", "keep");
  std::filesystem::create_symlink(precious, folder / "link");
  write_file_durably(folder / "link", as_bytes("new"));
  EXPECT_EQ(file_content(precious), "keep");
  EXPECT_EQ(file_content(folder / "link"), "new");
}

TEST(WriteFileDurably, GivesTheModeThatUmaskAllows) {
  const TemporaryDirectory folder;
  const mode_t before = umask(027);
  write_file_durably(folder / "a", as_bytes("x"));
  umask(before);
  struct stat status {};
  ASSERT_EQ(stat((folder / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

class EveryCall : public testing::TestWithParam<Fault> {};

TEST_P(EveryCall, MayFailWithoutTearingAFile) {
  const Fault fault = GetParam();
  const TemporaryDirectory folder;
  const std::string path = folder.write("model", big_text('o'));
  int points = 0, failures = 0;
  for (int at = 1;; ++at) {
    FaultyIo io(at, fault.error, fault.for_good);
    bool failed = false;
    try {
      write_file_durably(path, as_bytes(big_text('n')), io);
    } catch (const Error& error) {
      failed = true;
      EXPECT_EQ(error.code(), ExitCode::io);
      EXPECT_NE(std::string(error.what()).find(folder.path().string()), std::string::npos);
    }
    const std::string content = file_content(path);
    ASSERT_TRUE(content == big_text('o') || content == big_text('n')) << "torn at call " << at;
    if (!failed) {
      ASSERT_EQ(content, big_text('n')) << "lost at call " << at;
    }
    write_file_durably(path, as_bytes(big_text('o')));  // the next run works
    ASSERT_EQ(file_content(path), big_text('o'));
    failures += failed;
    points = at;
    if (!io.fired()) break;
    ASSERT_LT(at, 200);
  }
  EXPECT_GT(points, fault.error == FaultyIo::kShortWrite ? 1 : 8);
  EXPECT_EQ(failures == 0, fault.is_harmless()) << failures;
}

INSTANTIATE_TEST_SUITE_P(Io, EveryCall, testing::ValuesIn(kFaults),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(WriteFileDurably, TellsPathCauseNeedAndSpaceWhenTheDiskIsFull) {
  const TemporaryDirectory folder;
  FaultyIo io(3, ENOSPC, true);
  const auto write = [&] { write_file_durably(folder / "model", as_bytes(big_text('n')), io); };
  expect_refusal(write, ExitCode::io, "model");
  FaultyIo again(3, ENOSPC, true);
  expect_refusal([&] { write_file_durably(folder / "m", as_bytes(big_text('n')), again); },
                 ExitCode::io, "No space left on device; 600.0 KiB needed, ");
}

TEST(WriteFileDurably, LeavesNothingBehindWhenTheProducerFails) {
  const TemporaryDirectory folder;
  EXPECT_THROW(write_file_durably(folder / "a", 0, [](OutputFile&) { throw std::bad_alloc(); }),
               std::bad_alloc);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(MakeDirectories, MakesAllOfThemOnce) {
  const TemporaryDirectory folder;
  make_directories(folder / "a/b/c/");
  make_directories(folder / "a/b/c");
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
  folder.write("file", "");
  expect_refusal([&] { make_directories(folder / "file"); }, ExitCode::io, "File exists");
}

}  // namespace
}  // namespace isogrid
