#include "core/finite_scan.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace isogrid {
namespace {

/// An element is not finite when (bits & mask) == value.
struct Pattern {
  Dtype dtype;
  uint64_t mask;
  uint64_t value;
};

constexpr std::array<Pattern, 10> kPatterns{{
    {Dtype::f16, 0x7c00, 0x7c00},
    {Dtype::bf16, 0x7f80, 0x7f80},
    {Dtype::f32, 0x7f800000, 0x7f800000},
    {Dtype::c64, 0x7f800000, 0x7f800000},  // two floats
    {Dtype::f64, 0x7ff0000000000000, 0x7ff0000000000000},
    {Dtype::f8_e5m2, 0x7c, 0x7c},
    {Dtype::f8_e4m3, 0x7f, 0x7f},  // no infinities
    {Dtype::f8_e8m0, 0xff, 0xff},
    {Dtype::f8_e4m3fnuz, 0xff, 0x80},
    {Dtype::f8_e5m2fnuz, 0xff, 0x80},
}};

template <typename Word>
std::optional<uint64_t> scan(ByteSpan bytes, Word mask, Word value) {
  constexpr size_t kBlock = 4096;
  std::array<Word, kBlock> block{};  // a copy, since the data may not be aligned
  const size_t count = bytes.size() / sizeof(Word);
  for (size_t start = 0; start < count; start += kBlock) {
    const size_t length = std::min(kBlock, count - start);
    std::memcpy(block.data(), bytes.data() + start * sizeof(Word), length * sizeof(Word));
    // The tail of a last, shorter block holds words already looked at. A loop of constant length
    // without an exit is vectorised.
    Word found = 0;
    for (size_t i = 0; i < kBlock; ++i)
      found = static_cast<Word>(found | static_cast<Word>((block[i] & mask) == value));
    if (found == 0) continue;
    for (size_t i = 0; i < length; ++i)
      if ((block[i] & mask) == value) return start + i;
  }
  return std::nullopt;
}

template <typename Word>
std::optional<uint64_t> scan(ByteSpan bytes, const Pattern& pattern) {
  return scan(bytes, static_cast<Word>(pattern.mask), static_cast<Word>(pattern.value));
}

}  // namespace

std::optional<uint64_t> first_non_finite(Dtype dtype, ByteSpan bytes) {
  const auto* pattern = std::find_if(kPatterns.begin(), kPatterns.end(),
                                     [&](const Pattern& row) { return row.dtype == dtype; });
  if (pattern == kPatterns.end()) return std::nullopt;
  if (dtype == Dtype::c64) {
    const auto half = scan<uint32_t>(bytes, *pattern);
    return half ? std::optional(*half / 2) : std::nullopt;
  }
  switch (dtype_bits(dtype)) {
    case 8:
      return scan<uint8_t>(bytes, *pattern);
    case 16:
      return scan<uint16_t>(bytes, *pattern);
    case 32:
      return scan<uint32_t>(bytes, *pattern);
    default:
      return scan<uint64_t>(bytes, *pattern);
  }
}

}  // namespace isogrid
