#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// The known names nearest to `word` by swapped, missing, extra and wrong letters, best first; at
/// most three, none when nothing is near. Case, hyphens and a section before a dot do not count.
std::vector<std::string> nearest_names(std::string_view word,
                                       const std::vector<std::string_view>& known);

/// "; did you mean a, b or c?", or "" when nothing is near.
std::string suggestion(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace isogrid
