#include "core/gguf_pieces.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>

namespace isogrid {
namespace {

/// Longer pieces than any model has would cost the square of their length.
constexpr size_t kLongestMerged = 256;

struct PieceMerge {
  std::string_view left, right;
  size_t left_id, right_id;
  float score;
};

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

size_t characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), begins_character));
}

}  // namespace

std::vector<std::pair<std::string_view, std::string_view>> merges_of_pieces(
    std::span<const std::string_view> pieces, std::span<const float> scores) {
  std::unordered_map<std::string_view, size_t> id_of;
  for (size_t id = 0; id < pieces.size(); ++id) id_of.emplace(pieces[id], id);
  std::vector<PieceMerge> merges;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const std::string_view piece = pieces[id];
    if (piece.size() > kLongestMerged) continue;
    const auto first = static_cast<std::ptrdiff_t>(merges.size());
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if (!begins_character(piece[cut])) continue;
      const auto left = id_of.find(piece.substr(0, cut)), right = id_of.find(piece.substr(cut));
      if (left != id_of.end() && right != id_of.end())
        merges.push_back({left->first, right->first, left->second, right->second, scores[id]});
    }
    std::sort(merges.begin() + first, merges.end(), [](const PieceMerge& a, const PieceMerge& b) {
      return std::tie(a.left_id, a.right_id) < std::tie(b.left_id, b.right_id);
    });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const PieceMerge& a, const PieceMerge& b) {
    if (a.score != b.score) return a.score > b.score;
    const size_t left_a = characters(a.left), left_b = characters(b.left);
    return left_a != left_b ? left_a > left_b : characters(a.right) > characters(b.right);
  });
  std::vector<std::pair<std::string_view, std::string_view>> list;
  list.reserve(merges.size());
  for (const PieceMerge& merge : merges) list.emplace_back(merge.left, merge.right);
  return list;
}

}  // namespace isogrid
