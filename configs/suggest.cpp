#include "configs/suggest.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "core/error.h"

namespace isogrid {
namespace {

std::string folded(std::string_view word) {
  std::string out;
  for (char c : word) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    out += c == '-' || c == ' ' ? '_' : c;
  }
  return out;
}

constexpr size_t longest_name = 100;

/// Damerau and Levenshtein's distance, with swaps of neighbours only, of two names.
int edit_distance(std::string_view a, std::string_view b) {
  std::array<int, longest_name + 1> rows[3] = {};
  auto *before = &rows[0], *above = &rows[1], *row = &rows[2];
  for (size_t j = 0; j <= b.size(); ++j) (*above)[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    (*row)[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = a[i - 1] == b[j - 1];
      int least = std::min({(*above)[j] + 1, (*row)[j - 1] + 1, (*above)[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        least = std::min(least, (*before)[j - 2] + 1);
      (*row)[j] = least;
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return (*above)[b.size()];
}

}  // namespace

std::vector<std::string> nearest_names(std::string_view word,
                                       const std::vector<std::string_view>& known) {
  const size_t dot = word.rfind('.');
  const std::string wanted = folded(dot == std::string_view::npos ? word : word.substr(dot + 1));
  if (wanted.empty() || wanted.size() > longest_name) return {};
  std::vector<std::pair<int, std::string_view>> near;
  const int reach = std::max(1, static_cast<int>(std::min<size_t>(wanted.size() / 3, 4)));
  for (std::string_view name : known) {
    const auto difference = static_cast<int>(name.size()) - static_cast<int>(wanted.size());
    if (std::abs(difference) > reach || name.size() > longest_name) continue;
    const int distance = edit_distance(wanted, name);
    if (distance <= reach) near.emplace_back(distance, name);
  }
  std::stable_sort(near.begin(), near.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (const auto& [distance, name] : near)
    if (names.size() < 3 && distance == near.front().first) names.emplace_back(name);
  return names;
}

std::string suggestion(std::string_view word, const std::vector<std::string_view>& known) {
  const std::vector<std::string> names = nearest_names(word, known);
  if (names.empty()) return {};
  std::string text = "; did you mean ";
  for (size_t i = 0; i < names.size(); ++i)
    text += concat(i == 0 ? "" : i + 1 == names.size() ? " or " : ", ", names[i]);
  return text + "?";
}

}  // namespace isogrid
