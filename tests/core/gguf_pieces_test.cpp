#include "core/gguf_pieces.h"

#include <gtest/gtest.h>

#include <string>

namespace isogrid {
namespace {

using Merges = std::vector<std::pair<std::string_view, std::string_view>>;

TEST(GgufPieces, AreJoinedByTheScoreOfWhatTheyMake) {
  const std::vector<std::string_view> pieces{"a", "b", "c", "ab", "bc", "abc"};
  const std::vector<float> scores{-9, -9, -9, -2, -1, -3};
  EXPECT_EQ(merges_of_pieces(pieces, scores),
            (Merges{{"b", "c"}, {"a", "b"}, {"ab", "c"}, {"a", "bc"}}));
}

TEST(GgufPieces, EqualScoresPutTheLongerLeftHalfFirst) {
  const std::vector<std::string_view> pieces{"a", "b", "ab", "ba", "aba"};
  const std::vector<float> scores(5, 0.0f);
  EXPECT_EQ(merges_of_pieces(pieces, scores),
            (Merges{{"ab", "a"}, {"a", "ba"}, {"a", "b"}, {"b", "a"}}));
}

TEST(GgufPieces, AreCutBetweenCharactersOnly) {
  const std::vector<std::string_view> pieces{"\xC3",
                                             "\xA9",
                                             "\xC3\xA9",
                                             "e",
                                             "\xC3\xA9"
                                             "e",
                                             ""};
  const std::vector<float> scores(6, 0.0f);
  EXPECT_EQ(merges_of_pieces(pieces, scores), (Merges{{"\xC3\xA9", "e"}}));
}

TEST(GgufPieces, OfGreatLengthAreLeftAlone) {
  const std::string longest(300, 'a');
  const std::vector<std::string_view> pieces{"a", std::string_view(longest).substr(1), longest};
  EXPECT_TRUE(merges_of_pieces(pieces, std::vector<float>(3, 0.0f)).empty());
}

}  // namespace
}  // namespace isogrid
