#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace isogrid {

/// The printable character that stands for a byte in byte-level vocabularies: 33-126, 161-172 and
/// 174-255 stand for themselves, the other 68 bytes are U+0100 and up in order.
char32_t byte_to_char(uint8_t byte);
std::optional<uint8_t> char_to_byte(char32_t code);

/// Bytes in the spelling of the vocabulary.
std::string to_byte_alphabet(std::string_view bytes);
/// The bytes a token stands for; nullopt when one of its characters stands for no byte.
std::optional<std::string> from_byte_alphabet(std::string_view token);

}  // namespace isogrid
