#pragma once
#include <cstdint>

namespace isogrid {

/// `bits` (at most 16) bits of a stream of 32-bit words, little end first, from bit `at` on.
inline uint32_t bits_at(const int32_t* words, int64_t at, int bits) {
  const int64_t word = at / 32, shift = at % 32;
  uint64_t pair = static_cast<uint32_t>(words[word]);
  if (shift + bits > 32)
    pair |= static_cast<uint64_t>(static_cast<uint32_t>(words[word + 1])) << 32;
  return static_cast<uint32_t>(pair >> shift) & ((1u << bits) - 1);
}

/// Sets `bits` bits that are zero so far.
inline void put_bits(int32_t* words, int64_t at, int bits, uint32_t value) {
  const int64_t word = at / 32, shift = at % 32;
  const uint64_t pair = static_cast<uint64_t>(value) << shift;
  words[word] |= static_cast<int32_t>(static_cast<uint32_t>(pair));
  if (shift + bits > 32) words[word + 1] |= static_cast<int32_t>(static_cast<uint32_t>(pair >> 32));
}

}  // namespace isogrid
