#pragma once
#include <string>
#include <vector>

namespace isogrid {

/// The texts of data/tiny_text.jsonl, in the program itself: there wherever it lies.
std::vector<std::string> bundled_lines();

}  // namespace isogrid
