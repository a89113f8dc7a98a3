#pragma once
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "data/tokenizer/vocabulary.h"

namespace isogrid {

/// Are `length` bytes the same? Faster than a call for words.
inline bool same_bytes(const char* a, const char* b, size_t length) {
  const auto differs = [&]<typename Word>(Word, size_t at) {
    Word left, right;
    std::memcpy(&left, a + at, sizeof left);
    std::memcpy(&right, b + at, sizeof right);
    return left != right;
  };
  if (length >= 8) {
    for (size_t at = 0; at + 8 < length; at += 8)
      if (differs(uint64_t{}, at)) return false;
    return !differs(uint64_t{}, length - 8);
  }
  if (length >= 4) return !differs(uint32_t{}, 0) && !differs(uint32_t{}, length - 4);
  for (size_t at = 0; at < length; ++at)
    if (a[at] != b[at]) return false;
  return true;
}

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
    // Zeroed pages come from the system when they are first touched: an unused slot costs nothing.
    slots_.reset(static_cast<Slot*>(std::calloc(kSlots, sizeof(Slot))));
    if (!slots_) throw std::bad_alloc();
  }

  /// A slot for a word of 1 to kLongestWord bytes; it may hold another word.
  struct Slot {
    uint8_t length;  // 0: empty
    uint8_t count;
    std::array<char, kLongestWord> word;
    std::array<int32_t, kMostIds> ids;

    bool holds(std::string_view text) const {
      return length == text.size() && same_bytes(word.data(), text.data(), length);
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
  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  static constexpr size_t kSlots = size_t{1} << 16;
  uint64_t serial_ = 0;
  std::unique_ptr<Slot[], Free> slots_;
};

}  // namespace isogrid
