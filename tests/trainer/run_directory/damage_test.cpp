#include <gtest/gtest.h>

#include <random>

#include "tests/core/temporary_directory.h"
#include "tests/trainer/run_directory/small_checkpoint.h"

namespace isogrid {
namespace {

namespace fs = std::filesystem;

class Damage : public testing::Test {
 protected:
  Damage() : open_(folder_ / "run") {
    for (const int64_t step : {1, 2}) save_small(open_.store, step);
    for (const auto& entry : fs::directory_iterator(open_.store.path_of(2)))
      files_.push_back(entry.path().string());
  }

  /// Changes one file of checkpoint-2, expects that it is found, and mends it.
  void expect_found(const std::string& path, const std::string& changed) {
    const std::string content = file_content(path);
    std::ofstream(path, std::ios::binary) << changed;
    EXPECT_FALSE(check_checkpoint(open_.store.path_of(2)).sound()) << path;
    EXPECT_EQ(open_.store.newest()->facts.step, 1) << path;
    std::ofstream(path, std::ios::binary) << content;
  }

  std::string a_file() { return files_[random_() % files_.size()]; }

  const Quiet quiet_;
  const TemporaryDirectory folder_{memory_directory()};
  OpenRun open_;
  std::vector<std::string> files_;
  std::mt19937_64 random_{7};
};

TEST_F(Damage, AThousandFlippedBitsAreFound) {
  for (int i = 0; i < 1000; ++i) {
    const std::string path = a_file();
    std::string content = file_content(path);
    const uint64_t bit = random_() % (content.size() * 8);
    content[bit / 8] = static_cast<char>(content[bit / 8] ^ 1 << bit % 8);
    expect_found(path, content);
  }
  EXPECT_EQ(open_.store.newest()->facts.step, 2);
}

TEST_F(Damage, TwoHundredCutFilesAreFound) {
  for (int i = 0; i < 200; ++i) {
    const std::string path = a_file(), content = file_content(path);
    expect_found(path, content.substr(0, random_() % content.size()));
  }
  EXPECT_EQ(open_.store.newest()->facts.step, 2);
}

}  // namespace
}  // namespace isogrid
