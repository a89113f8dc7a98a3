// Indexes and configs somebody made to hurt a reader.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "models/folder.h"
#include "models/weight_index.h"
#include "tests/core/refusal.h"
#include "tests/core/safetensors_bytes.h"
#include "tests/core/temporary_directory.h"

namespace isogrid {
namespace {

struct HostileText {
  const char* attack;
  std::string text;
  const char* names;
};

std::string mapped(const std::string& file) { return R"({"weight_map":{"w":")" + file + R"("}})"; }

std::vector<HostileText> hostile_indexes() {
  const std::string one = R"("w":"s.safetensors")";
  return {
      {"nothing", "", "end of the file"},
      {"a list", "[]", "an object"},
      {"no map", "{}", "'weight_map' is missing"},
      {"a map that is a list", R"({"weight_map":[]})", "weight_map"},
      {"a map that is null", R"({"weight_map":null})", "weight_map"},
      {"two maps", "{\"weight_map\":{" + one + "},\"weight_map\":{" + one + "}}", "weight_map"},
      {"a tensor twice", "{\"weight_map\":{" + one + "," + one + "}}", "'w' appears twice"},
      {"a file that is a number", R"({"weight_map":{"w":1}})", "weight_map.w"},
      {"a file that is a list", R"({"weight_map":{"w":["s.safetensors"]}})", "weight_map.w"},
      {"the folder above", mapped("../s.safetensors"), "weight_map.w"},
      {"an absolute path", mapped("/etc/passwd.safetensors"), "weight_map.w"},
      {"a folder below", mapped("sub/s.safetensors"), "weight_map.w"},
      {"a backslash", mapped("..\\\\s.safetensors"), "weight_map.w"},
      {"a drive", mapped("C:s.safetensors"), "weight_map.w"},
      {"a URL", mapped("http://host/s.safetensors"), "weight_map.w"},
      {"a percent form", mapped("%2e%2e%2fs.safetensors"), "weight_map.w"},
      {"a home", mapped("~root.safetensors"), "weight_map.w"},
      {"a NUL", mapped("s.safetensors\\u0000.safetensors"), "weight_map.w"},
      {"a long name", mapped(std::string(300, 's') + ".safetensors"), "weight_map.w"},
      {"an empty name", mapped(""), "weight_map.w"},
      {"a hidden file", mapped(".safetensors"), "weight_map.w"},
      {"a pickle", mapped("pytorch_model.bin"), "weight_map.w"},
      {"another ending", mapped("s.txt"), "weight_map.w"},
      {"a control character in a tensor's name", R"({"weight_map":{"a\u0001":"s.safetensors"}})",
       "name"},
      {"a tensor's name of 1,025 bytes",
       "{\"weight_map\":{\"" + std::string(1025, 'w') + R"(":"s.safetensors"}})", "name"},
      {"metadata that is a list", "{\"metadata\":[],\"weight_map\":{" + one + "}}", "metadata"},
      {"metadata twice", "{\"metadata\":{},\"metadata\":{},\"weight_map\":{" + one + "}}",
       "metadata"},
      {"a size that is text", R"({"metadata":{"total_size":"9"},"weight_map":{}})", "total_size"},
      {"a negative size", R"({"metadata":{"total_size":-1},"weight_map":{}})", "total_size"},
      {"half a byte", R"({"metadata":{"total_size":1.5},"weight_map":{}})", "total_size"},
      {"a size no float can hold", R"({"metadata":{"total_size":1e999},"weight_map":{}})", "float"},
      {"a size twice", R"({"metadata":{"total_size":1,"total_size":2},"weight_map":{}})",
       "total_size"},
      {"depth beside the map", R"({"x":)" + std::string(100'000, '['), "depth"},
      {"bytes behind the end", "{\"weight_map\":{" + one + "}}x", "after the end"},
      {"no UTF-8", "{\"weight_map\":{\"\xc3(\":\"s.safetensors\"}}", "UTF-8"},
  };
}

TEST(HostileIndex, IsRefusedByName) {
  for (const auto& [attack, text, names] : hostile_indexes()) {
    SCOPED_TRACE(attack);
    expect_refusal([&] { parse_shard_index(text, "index.json"); }, ExitCode::refused_input, names);
  }
}

TEST(HostileIndex, IsBounded) {
  std::string many = R"({"weight_map":{)";
  for (int i = 0; i < 10'001; ++i)
    many += (i ? ",\"" : "\"") + std::to_string(i) + "\":\"" + std::to_string(i) + ".safetensors\"";
  expect_refusal([&] { parse_shard_index(many + "}}", "i"); }, ExitCode::refused_input,
                 "10000 files");
  const std::string large((64 << 20) + 1, ' ');
  expect_refusal([&] { parse_shard_index(large, "i"); }, ExitCode::refused_input, "64.0 MiB");
}

TEST(HostileIndex, NeverOpensAnythingButRegularFilesInside) {
  const TemporaryDirectory outer;
  outer.write("secret.safetensors", safetensors_bytes("{}"));
  outer.write("m/config.json", "{}");
  const auto in_model = [&](const char* name) { return outer / (std::string("m/") + name); };
  mkfifo(in_model("fifo.safetensors").c_str(), 0600);
  mkdir(in_model("folder.safetensors").c_str(), 0700);
  std::filesystem::create_symlink("../secret.safetensors", in_model("out.safetensors"));
  std::filesystem::create_symlink("out.safetensors", in_model("chain.safetensors"));
  std::filesystem::create_symlink("/dev/zero", in_model("device.safetensors"));
  for (const char* name : {"fifo", "folder", "out", "chain", "device"}) {
    outer.write("m/model.safetensors.index.json", mapped(std::string(name) + ".safetensors"));
    expect_refusal([&] { open_weights(InputDirectory(outer / "m")); }, ExitCode::refused_input,
                   name);
  }
}

TEST(HostileConfig, IsRefusedWithItsPlace) {
  const std::vector<HostileText> configs{
      {"nothing", "", "config.json:1:1"},
      {"a list", "[]", "an object"},
      {"text", "\"x\"", "an object"},
      {"cut off", "{\"a\": 1", "config.json:1:8"},
      {"a key twice", "{\n\"hidden_size\": 8,\n\"hidden_size\": 9}",
       "config.json:3:1: key 'hidden_size' appears twice"},
      {"a nested key twice", R"({"rope_scaling": {"factor": 1, "factor": 2}})",
       "'factor' appears twice"},
      {"NaN", R"({"rms_norm_eps": NaN})", "config.json:1:18"},
      {"infinity", R"({"rms_norm_eps": 1e999})", "float"},
      {"depth", std::string(100'000, '['), "depth 65"},
      {"deep objects",
       [] {
         std::string text;
         for (int i = 0; i < 9'999; ++i) text += "{\"a\":";
         return text;
       }(),
       "depth 65"},
      {"a comment", "{/* */}", "config.json:1:2"},
      {"no UTF-8", "{\"a\": \"\xff\"}", "UTF-8"},
      {"half a surrogate", R"({"a": "\udc00"})", "surrogate"},
      {"a control character", "{\"a\": \"\n\"}", "control character"},
      {"a NUL", std::string("{}\0", 3), "after the end"},
      {"a byte order mark", "\xef\xbb\xbf{}", "config.json:1:1"},
      {"17 MiB", std::string(17 << 20, ' '), "16.0 MiB"},
  };
  const TemporaryDirectory folder;
  for (const auto& [attack, text, names] : configs) {
    SCOPED_TRACE(attack);
    folder.write("config.json", text);
    expect_refusal([&] { open_model_folder(folder.path().string()); }, ExitCode::refused_input,
                   names);
  }
}

TEST(HostileConfig, AnEndlessOrBlockingFileIsNeverRead) {
  const TemporaryDirectory folder;
  mkfifo((folder / "config.json").c_str(), 0600);
  const auto open = [&] { open_model_folder(folder.path().string()); };
  expect_refusal(open, ExitCode::refused_input, "a named pipe");
  std::filesystem::remove(folder / "config.json");
  std::filesystem::create_symlink("/dev/zero", folder / "config.json");
  expect_refusal(open, ExitCode::refused_input, "outside the model");
}

}  // namespace
}  // namespace isogrid
