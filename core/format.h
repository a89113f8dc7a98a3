#pragma once
#include <cstdint>
#include <string>

namespace isogrid {

/// "640 B", "1.2 KiB", "13.7 GiB": three digits at most before the point, one after it.
std::string human_bytes(uint64_t bytes);

/// "1,234,567".
std::string with_commas(uint64_t count);

/// "950", "12.5 K", "596.0 M", "3.1 B": counts of things in powers of a thousand.
std::string human_count(uint64_t count);

/// "0.8 s", "59 s", "4 min 05 s", "3 h 07 min", "2 d 04 h".
std::string human_seconds(double seconds);

}  // namespace isogrid
