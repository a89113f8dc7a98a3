#pragma once
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace isogrid {

/// What a vocabulary of scored pieces (SentencePiece) merges, the most wanted first: every way to
/// make a piece of two others, by the score of what is made. The order is that in which published
/// tokenizers list them.
std::vector<std::pair<std::string_view, std::string_view>> merges_of_pieces(
    std::span<const std::string_view> pieces, std::span<const float> scores);

}  // namespace isogrid
