#pragma once
#include <string>
#include <string_view>

namespace isogrid {

inline constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";

inline std::string_view trim_left(std::string_view text, std::string_view set = kWhiteSpace) {
  const size_t first = text.find_first_not_of(set);
  return first == std::string_view::npos ? std::string_view() : text.substr(first);
}

inline std::string_view trim_right(std::string_view text, std::string_view set = kWhiteSpace) {
  return text.substr(0, text.find_last_not_of(set) + 1);
}

inline std::string_view trim(std::string_view text, std::string_view set = kWhiteSpace) {
  return trim_left(trim_right(text, set), set);
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

inline std::string erase_all(std::string_view text, std::string_view removed) {
  std::string kept;
  size_t from = 0;
  for (size_t at = text.find(removed); at != std::string_view::npos;
       at = text.find(removed, from)) {
    kept += text.substr(from, at - from);
    from = at + removed.size();
  }
  return kept += text.substr(from);
}

}  // namespace isogrid
