#pragma once
#include <cstdint>

#include "core/rng.h"

namespace isogrid {

/// A shuffle of 0 ... size-1 that needs no memory: where each position goes is a pure function of
/// the key. A Feistel network on the smallest square of a power of two that holds the numbers,
/// walked until it lands inside (Black and Rogaway, "Ciphers with arbitrary finite domains").
class KeyedPermutation {
 public:
  KeyedPermutation(uint64_t size, PhiloxKey key) : size_(size), key_(key) {
    while (half_bits_ < 32 && (uint64_t{1} << 2 * half_bits_) < size) ++half_bits_;
  }

  /// `position` below size().
  uint64_t operator()(uint64_t position) const {
    do position = encrypt(position);
    while (position >= size_);
    return position;
  }
  uint64_t size() const { return size_; }

 private:
  static constexpr uint32_t kRounds = 8;

  uint64_t encrypt(uint64_t value) const {
    const uint32_t mask = static_cast<uint32_t>((uint64_t{1} << half_bits_) - 1);
    auto left = static_cast<uint32_t>(value >> half_bits_) & mask;
    auto right = static_cast<uint32_t>(value) & mask;
    for (uint32_t round = 0; round < kRounds; ++round) {
      const uint32_t mixed = left ^ (philox4x32({right, round, half_bits_, 0}, key_)[0] & mask);
      left = right;
      right = mixed;
    }
    return uint64_t{left} << half_bits_ | right;
  }

  uint64_t size_;
  PhiloxKey key_;
  uint32_t half_bits_ = 1;
};

}  // namespace isogrid
