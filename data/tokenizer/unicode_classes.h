#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace isogrid {

/// What the patterns ask of a character. Bits, so that a set of classes is one mask.
enum CharClass : uint8_t {
  kUpper = 1,        // Lu, Lt
  kLower = 2,        // Ll
  kOtherLetter = 4,  // Lm, Lo
  kLetter = kUpper | kLower | kOtherLetter,
  kMark = 8,
  kNumber = 16,
  kSpace = 32,
  kWord = 64,   // \w of the test for single words
  kDigit = 128  // numbers as the Digits pre-tokeniser knows them
};

/// Classes of every code point, in two stages: most blocks of 256 are alike.
class ClassTable {
 public:
  static const ClassTable& get();
  uint8_t operator[](char32_t code) const {
    return blocks_[size_t{block_of_[code >> 8]} << 8 | (code & 0xFF)];
  }

 private:
  ClassTable();
  std::array<uint16_t, 0x1100> block_of_;
  std::vector<uint8_t> blocks_;
};

}  // namespace isogrid
