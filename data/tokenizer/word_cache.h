#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "data/tokenizer/vocabulary.h"

namespace isogrid {

/// Ids of words seen before: a fixed number of one-line slots, the newer word takes the place.
/// Text repeats its words so much that nearly all pieces are answered here.
class WordCache {
 public:
  static constexpr size_t kLongestWord = 30;
  static constexpr size_t kMostIds = 8;

  /// Empties the cache unless it already holds words of this tokenizer.
  void belong_to(uint64_t serial) {
    if (serial == serial_) return;
    serial_ = serial;
    slots_.assign(kSlots, Slot{});
  }

  /// A slot for a word of 1 to kLongestWord bytes; it may hold another word.
  struct Slot {
    uint8_t length = 0;
    uint8_t count = 0;
    std::array<char, kLongestWord> word;
    std::array<int32_t, kMostIds> ids;

    bool holds(std::string_view text) const {
      return length == text.size() && std::memcmp(word.data(), text.data(), length) == 0;
    }
    void store(std::string_view text, const int32_t* first, size_t number) {
      if (number > kMostIds) return;
      length = static_cast<uint8_t>(text.size());
      count = static_cast<uint8_t>(number);
      std::memcpy(word.data(), text.data(), text.size());
      if (number > 0) std::memcpy(ids.data(), first, number * sizeof(int32_t));
    }
  };
  Slot& slot(std::string_view text) { return slots_[hash_bytes(text) & (kSlots - 1)]; }

 private:
  static constexpr size_t kSlots = size_t{1} << 15;
  uint64_t serial_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace isogrid
