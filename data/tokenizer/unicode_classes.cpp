#include "data/tokenizer/unicode_classes.h"

#include <algorithm>
#include <map>
#include <span>

#include "data/tokenizer/unicode_data.h"

namespace isogrid {
namespace {

struct ClassRange {
  uint32_t first;
  uint8_t bits;
};

#include "data/tokenizer/unicode_tables.inc"

}  // namespace

std::span<const Decomposition> unicode_decompositions() { return kDecompositions; }
std::span<const CombiningRange> unicode_combining_ranges() { return kCombiningRanges; }

const ClassTable& ClassTable::get() {
  static const ClassTable table;
  return table;
}

ClassTable::ClassTable() {
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  size_t range = 0;
  for (uint32_t block = 0; block < block_of_.size(); ++block) {
    std::array<uint8_t, 256> bits;
    for (uint32_t i = 0; i < 256; ++i) {
      const uint32_t code = block << 8 | i;
      while (range + 1 < std::size(kClassRanges) && kClassRanges[range + 1].first <= code) ++range;
      bits[i] = kClassRanges[range].bits;
    }
    const auto [place, fresh] = known.emplace(bits, static_cast<uint16_t>(known.size()));
    if (fresh) blocks_.insert(blocks_.end(), bits.begin(), bits.end());
    block_of_[block] = place->second;
  }
}

}  // namespace isogrid
