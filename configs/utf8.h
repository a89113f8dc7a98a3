#pragma once
#include <cstddef>
#include <string_view>

namespace isogrid {

/// Where `text` stops being UTF-8 without control characters (tab, line feed and carriage return
/// are allowed); its size when it never does.
size_t first_bad_character(std::string_view text);

}  // namespace isogrid
