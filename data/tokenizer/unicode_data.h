#pragma once
#include <cstdint>
#include <span>

namespace isogrid {

/// One step of a canonical decomposition; `second` is 0 for one-to-one mappings.
struct Decomposition {
  uint32_t code;
  uint32_t first;
  uint32_t second;
  bool composes;  // NFC puts the two together again
};

struct CombiningRange {
  uint32_t first;
  uint32_t last;
  uint8_t combining_class;
};

/// Ordered by code point. Hangul syllables are arithmetic and not listed.
std::span<const Decomposition> unicode_decompositions();
std::span<const CombiningRange> unicode_combining_ranges();

}  // namespace isogrid
