#include "core/version.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>

namespace isogrid {
namespace {

TEST(Version, HasThreeNumbers) {
  const std::string version(program_version());
  EXPECT_EQ(std::count(version.begin(), version.end(), '.'), 2) << version;
  EXPECT_TRUE(std::isdigit(static_cast<unsigned char>(version.front()))) << version;
}

TEST(Version, NamesACommitOrSaysItIsUnknown) {
  const std::string commit(program_commit());
  const std::string hash = commit.substr(0, commit.find('+'));
  const bool is_hash =
      hash.size() >= 7 && hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  EXPECT_TRUE(is_hash || commit == "unknown") << commit;
}

}  // namespace
}  // namespace isogrid
