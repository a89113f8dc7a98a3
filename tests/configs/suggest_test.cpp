#include "configs/suggest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "configs/aliases.h"
#include "tests/configs/config_text.h"

namespace isogrid {
namespace {

const std::vector<std::string_view> fruit = {"apple", "apricot", "pear", "peach", "plum_tree"};

TEST(Suggestion, NamesTheNearest) {
  EXPECT_EQ(suggestion("aplpe", fruit), "; did you mean apple?");
  EXPECT_EQ(suggestion("APPLE", fruit), "; did you mean apple?");
  EXPECT_EQ(suggestion("plum-tree", fruit), "; did you mean plum_tree?");
  EXPECT_EQ(suggestion("garden.plum_tree", fruit), "; did you mean plum_tree?");
  EXPECT_EQ(suggestion("pech", fruit), "; did you mean peach?");
  EXPECT_EQ(suggestion("peac", fruit), "; did you mean pear or peach?");
  EXPECT_EQ(suggestion("submarine", fruit), "");
  EXPECT_EQ(suggestion("", fruit), "");
}

std::string without(std::string word, size_t at) { return word.erase(at, 1); }
std::string doubled(std::string word, size_t at) { return word.insert(at, 1, word[at]); }
std::string swapped(std::string word, size_t at) {
  std::swap(word[at], word[at + 1]);
  return word;
}
std::string hyphenated(std::string word) {
  std::replace(word.begin(), word.end(), '_', '-');
  return word;
}
std::string in_wrong_case(std::string word) {
  for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return word;
}

struct Score {
  int wanted = 0, right = 0;
};

class Typos : public testing::Test {
 protected:
  /// Refused with the place of the key; counts whether the first name suggested is the right one.
  void check(const std::string& kind, const std::string& key, const std::string& text) {
    const LoadedConfig loaded = loaded_from("seed: 1\n" + text + "\n");
    ASSERT_EQ(loaded.problems.size(), 1u) << text;
    const std::string& problem = loaded.problems.front();
    EXPECT_EQ(problem.find("c.yaml:2:"), 0u) << problem;
    ++scores_[kind].wanted;
    const bool is_right = problem.find("did you mean " + key + "?") != std::string::npos ||
                          problem.find("did you mean " + key + " or") != std::string::npos ||
                          problem.find("did you mean " + key + ",") != std::string::npos ||
                          problem.find("write " + key + " at the left") != std::string::npos;
    scores_[kind].right += is_right;
  }

  /// Where a mutation is another known name, it cannot be told from one.
  bool is_known(const std::string& word) const { return known_.contains(word); }

  std::set<std::string, std::less<>> known_{known_keys().begin(), known_keys().end()};
  std::map<std::string, Score> scores_;
};

TEST_F(Typos, AreRefusedWithTheRightKey) {
  for (std::string_view name : known_keys()) {
    const std::string key(name);
    const std::string spots[][2] = {
        {"swap", swapped(key, key.size() / 2)},
        {"swap", swapped(key, 0)},
        {"swap", swapped(key, key.size() - 2)},
        {"drop", without(key, key.size() / 2)},
        {"drop", without(key, 1)},
        {"drop", without(key, key.size() - 1)},
        {"double", doubled(key, key.size() / 2)},
        {"double", doubled(key, 0)},
        {"hyphen", hyphenated(key)},
        {"case", in_wrong_case(key)},
    };
    for (const auto& [kind, typo] : spots)
      if (!is_known(typo)) check(kind, key, typo + ": 1");
    for (const char* section : {"training", "trainer", "settings", "quantization"})
      check("section", key, std::string(section) + ":\n  " + key + ": 1");
    check("section", key, "training." + key + ": 1");
  }
  Score all;
  for (const auto& [kind, score] : scores_) {
    EXPECT_GE(score.right, 0.95 * score.wanted) << kind;
    all.wanted += score.wanted;
    all.right += score.right;
    RecordProperty(kind, std::to_string(score.right) + " of " + std::to_string(score.wanted));
  }
  EXPECT_GE(all.right, 0.95 * all.wanted);
}

}  // namespace
}  // namespace isogrid
