#include "data/tokenizer/utf8.h"

#include <algorithm>

namespace isogrid {

void append_utf8(std::string& out, char32_t code) {
  const auto put = [&out](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

Utf8Step utf8_step(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return {true, false, 1};
  if (lead < 0xC2 || lead > 0xF4) return {false, false, 1};
  const uint32_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range keeps out overlong forms, surrogates and what is above U+10FFFF.
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (uint32_t i = 1; i < length; ++i) {
    if (at + i == text.size()) return {false, true, i};
    const unsigned next = byte(at + i);
    if (i == 1 ? next < low || next > high : next < 0x80 || next > 0xBF) return {false, false, i};
  }
  return {true, false, length};
}

size_t utf8_valid_until(std::string_view text) {
  size_t at = 0;
  while ((at = ascii_run_end(text, at)) < text.size()) {
    const Utf8Step step = utf8_step(text, at);
    if (!step.valid) return at;
    at += step.bytes;
  }
  return at;
}

void append_utf8_lossy(std::string& out, std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t good = utf8_valid_until(bytes);
    out.append(bytes.substr(0, good));
    if (good == bytes.size()) return;
    out.append("\xEF\xBF\xBD");
    bytes.remove_prefix(good + utf8_step(bytes, good).bytes);
  }
}

size_t utf8_incomplete_tail(std::string_view bytes) {
  for (size_t length = 1; length <= std::min<size_t>(3, bytes.size()); ++length) {
    const size_t at = bytes.size() - length;
    if ((static_cast<unsigned char>(bytes[at]) & 0xC0) == 0x80) continue;
    return utf8_step(bytes, at).incomplete ? length : 0;
  }
  return 0;
}

}  // namespace isogrid
