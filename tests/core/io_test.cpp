#include "core/io.h"

#include <gtest/gtest.h>

#include <filesystem>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "core/input_directory.h"
#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

TEST(MappedFile, ShowsTheBytesOfAFile) {
  const TemporaryDirectory folder;
  EXPECT_EQ(as_text(MappedFile(folder.write("a", "hello")).bytes()), "hello");
  EXPECT_TRUE(MappedFile(folder.write("empty", "")).bytes().empty());
}

TEST(MappedFile, RefusesWhatIsNoRegularFileWithoutWaiting) {
  const TemporaryDirectory folder;
  mkfifo((folder / "fifo").c_str(), 0600);
  expect_refusal([&] { MappedFile(folder / "none"); }, ExitCode::missing_input, "none");
  expect_refusal([&] { MappedFile(folder.path().string()); }, ExitCode::refused_input,
                 "a directory");
  expect_refusal([&] { MappedFile(folder / "fifo"); }, ExitCode::refused_input, "a named pipe");
  expect_refusal([&] { MappedFile("/dev/zero"); }, ExitCode::refused_input, "a device");
  expect_refusal([&] { MappedFile(std::string("a\0b", 3)); }, ExitCode::refused_input, "NUL");
}

TEST(ReadTextFile, IsBounded) {
  const TemporaryDirectory folder;
  const std::string path = folder.write("a", "hello");
  EXPECT_EQ(read_text_file(path, 5), "hello");
  expect_refusal([&] { read_text_file(path, 4); }, ExitCode::refused_input, "larger than the 4 B");
}

TEST(InputDirectory, RefusesEveryNameThatIsNoPlainOne) {
  const TemporaryDirectory outer;
  outer.write("secret.safetensors", "secret");
  outer.write("model/inside.safetensors", "inside");
  const InputDirectory model(outer / "model");
  EXPECT_EQ(model.read("inside.safetensors", 100), "inside");
  std::vector<std::string> names{"",
                                 ".",
                                 "..",
                                 "../secret.safetensors",
                                 "/etc/passwd",
                                 "./inside.safetensors",
                                 "a/../../secret.safetensors",
                                 "..\\secret.safetensors",
                                 "C:\\secret",
                                 "C:secret",
                                 "~",
                                 "~root/x",
                                 "/proc/self/environ",
                                 "/dev/zero",
                                 "file:///etc/passwd",
                                 "http://host/x.safetensors",
                                 "%2e%2e%2fsecret.safetensors",
                                 "..%2fsecret.safetensors",
                                 "%00",
                                 "..%c0%af",
                                 "\x01x",
                                 "a\nb",
                                 "a\x7f",
                                 ".hidden",
                                 "a/",
                                 "/",
                                 "//",
                                 "\\\\host\\share",
                                 "...",
                                 "..;/x",
                                 "a//b"};
  names.emplace_back("inside.safetensors\0/../x", 24);
  names.emplace_back(std::string(256, 'a'));
  names.emplace_back(std::string(100'000, 'a'));
  for (std::string up = "../"; names.size() < 480; up += "../")
    for (const char* end : {"secret.safetensors", "etc/passwd", "proc/self/environ", "dev/zero"})
      names.push_back(up.substr(0, 600) + end);
  for (const std::string& name : names) {
    EXPECT_FALSE(is_plain_file_name(name)) << name;
    EXPECT_FALSE(model.has(name)) << name;
    expect_refusal([&] { model.open(name); }, ExitCode::refused_input, "no plain file name");
  }
}

TEST(InputDirectory, OpensOnlyRegularFilesInside) {
  const TemporaryDirectory outer;
  outer.write("secret", "secret");
  outer.write("model/inside", "inside");
  outer.write("model/sub/deep", "deep");
  const auto link = [&](const fs::path& to, const char* name) {
    fs::create_symlink(to, fs::path(outer / "model") / name);
  };
  link("inside", "link_inside");
  link("sub/deep", "link_deep");
  link("link_inside", "chain_inside");
  link("../secret", "link_out");
  link(outer / "secret", "link_absolute");
  link("/proc/self/environ", "link_proc");
  link("link_out", "chain_out");
  link("sub/../../secret", "link_winding");
  link("loop_b", "loop_a");
  link("loop_a", "loop_b");
  link("/dev/zero", "link_device");
  link("fifo", "link_fifo");
  link("nothing", "dangling");
  mkfifo((outer / "model/fifo").c_str(), 0600);
  mkdir((outer / "model/folder").c_str(), 0700);
  const int socket_fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (outer / "model/socket").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const FileDescriptor socket_owner(socket_fd);

  const InputDirectory model(outer / "model");
  EXPECT_EQ(model.read("link_inside", 100), "inside");
  EXPECT_EQ(model.read("link_deep", 100), "deep");
  EXPECT_EQ(model.read("chain_inside", 100), "inside");
  for (const char* name : {"link_out", "link_absolute", "link_proc", "chain_out", "link_winding",
                           "loop_a", "link_device", "link_fifo", "fifo", "folder", "socket"})
    expect_refusal([&] { model.open(name); }, ExitCode::refused_input, name);
  for (const char* name : {"dangling", "nothing"})
    expect_refusal([&] { model.open(name); }, ExitCode::missing_input, name);
}

// The layout of the hub's own library, its newer shared blobs included.
TEST(InputDirectory, FollowsTheLinksOfAHubCache) {
  const std::string hash = "ab" + std::string(62, '0');
  const TemporaryDirectory cache;
  cache.write("secret", "secret");
  cache.write("models--o--n/blobs/123", "config");
  cache.write("blobs/ab/" + hash, "weights");
  cache.write("models--other--x/blobs/9", "other");
  cache.write("models--o--n/snapshots/c/own", "own");
  const auto link = [&](const std::string& to, const std::string& at) {
    fs::create_symlink(to, cache / ("models--o--n/" + at));
  };
  link("../../blobs/123", "snapshots/c/config.json");
  link("../../blobs/etag", "snapshots/c/model.safetensors");
  link("../../blobs/ab/" + hash, "blobs/etag");
  link("../../blobs/up", "snapshots/c/planted");
  link("../../secret", "blobs/up");
  link("../../../models--other--x/blobs/9", "snapshots/c/neighbour");
  link("../../refs/main", "snapshots/c/refs");
  cache.write("models--o--n/refs/main", "c");

  const InputDirectory snapshot(cache / "models--o--n/snapshots/c");
  EXPECT_EQ(snapshot.read("own", 100), "own");
  EXPECT_EQ(snapshot.read("config.json", 100), "config");
  EXPECT_EQ(snapshot.read("model.safetensors", 100), "weights");
  for (const char* name : {"planted", "neighbour", "refs"})
    expect_refusal([&] { snapshot.open(name); }, ExitCode::refused_input, "outside the model");
}

}  // namespace
}  // namespace isogrid
