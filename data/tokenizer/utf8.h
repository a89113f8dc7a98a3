#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace isogrid {

struct Utf8Char {
  char32_t code;
  uint32_t bytes;
};

/// The character at text[at], which must be the start of a well-formed one.
inline Utf8Char utf8_char(std::string_view text, size_t at) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + at;
  if (p[0] < 0x80) return {p[0], 1};
  if (p[0] < 0xE0) return {static_cast<char32_t>((p[0] & 0x1F) << 6 | (p[1] & 0x3F)), 2};
  if (p[0] < 0xF0)
    return {static_cast<char32_t>((p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F)), 3};
  return {static_cast<char32_t>((p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 |
                                (p[3] & 0x3F)),
          4};
}

/// The start of the character that ends at text[at]; at > 0, the text well formed.
inline size_t utf8_before(std::string_view text, size_t at) {
  do --at;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return at;
}

/// Where the run of ASCII starting at `at` ends, read eight bytes at a time.
inline size_t ascii_run_end(std::string_view text, size_t at) {
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if (word & 0x8080808080808080u) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

void append_utf8(std::string& out, char32_t code);

/// What stands at a place of text that may be malformed.
struct Utf8Step {
  bool valid;
  bool incomplete;  // the text ends inside a character that is right so far
  uint32_t bytes;   // of the character, or of the maximal part that no character can continue
};
Utf8Step utf8_step(std::string_view text, size_t at);

/// The first byte that is not part of a well-formed character; text.size() when there is none.
size_t utf8_valid_until(std::string_view text);

/// Appends with U+FFFD for every maximal malformed part, as Rust and the WHATWG standard do.
void append_utf8_lossy(std::string& out, std::string_view bytes);

/// How many trailing bytes are the start of a character whose rest may still come.
size_t utf8_incomplete_tail(std::string_view bytes);

}  // namespace isogrid
