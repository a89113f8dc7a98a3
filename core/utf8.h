#pragma once
#include <cstddef>
#include <string_view>

namespace isogrid {

/// Bytes of the character that begins at `at`; 0 where no valid UTF-8 begins (table 3-7 of the
/// Unicode standard: no overlong forms, no surrogates, nothing above U+10FFFF).
size_t utf8_character(std::string_view text, size_t at);

bool is_utf8(std::string_view text);

}  // namespace isogrid
