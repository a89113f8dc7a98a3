#include "configs/scalars.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace isogrid {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Drops underscores that stand between two digits; leaves the others, which then fail to read.
std::string without_separators(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool between = i > 0 && i + 1 < text.size() && std::isxdigit(text[i - 1] & 0x7F) &&
                         std::isxdigit(text[i + 1] & 0x7F);
    if (text[i] != '_' || !between) plain += text[i];
  }
  return plain;
}

bool is_word(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  const auto upper = [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; };
  bool same = true, all_upper = true, capitalised = true;
  for (size_t i = 0; i < text.size(); ++i) {
    same &= text[i] == lower[i];
    all_upper &= text[i] == upper(lower[i]);
    capitalised &= text[i] == (i == 0 ? upper(lower[i]) : lower[i]);
  }
  return same || all_upper || capitalised;
}

bool is_decimal(std::string_view text) {
  size_t i = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  size_t digits = 0;
  for (; i < text.size() && (is_digit(text[i]) || text[i] == '.'); ++i) digits += is_digit(text[i]);
  if (digits == 0) return false;
  if (i == text.size()) return true;
  if (text[i] != 'e' && text[i] != 'E') return false;
  ++i;
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
  if (i == text.size()) return false;
  while (i < text.size() && is_digit(text[i])) ++i;
  return i == text.size();
}

bool has_leading_zero(std::string_view digits) {
  return digits.size() > 1 && digits[0] == '0' && is_digit(digits[1]);
}

Read<int64_t> from_float(std::string_view text) {
  const Read<double> number = read_number(text);
  if (!number.value) return {{}, "not a whole number"};
  if (std::nearbyint(*number.value) != *number.value) return {{}, "not a whole number"};
  if (std::abs(*number.value) > 9007199254740992.0) return {{}, "too large to be exact"};
  return {static_cast<int64_t>(*number.value), {}};
}

}  // namespace

Read<bool> read_bool(std::string_view text) {
  for (std::string_view word : {"true", "yes", "on", "1"})
    if (is_word(text, word)) return {true, {}};
  for (std::string_view word : {"false", "no", "off", "0"})
    if (is_word(text, word)) return {false, {}};
  return {{}, "not true or false"};
}

Read<int64_t> read_integer(std::string_view text) {
  const std::string plain = without_separators(text);
  std::string_view digits = plain;
  const bool is_negative = digits.starts_with('-');
  if (is_negative || digits.starts_with('+')) digits.remove_prefix(1);
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) base = 16;
  if (digits.starts_with("0o") || digits.starts_with("0O")) base = 8;
  if (base != 10)
    digits.remove_prefix(2);
  else if (has_leading_zero(digits))
    return {{}, "not clear: write it without the leading zero, or 0o... for octal"};
  else if (digits.find_first_not_of("0123456789") != std::string_view::npos)
    return from_float(text);
  uint64_t size = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), size, base);
  if (error == std::errc::result_out_of_range) return {{}, "too large"};
  if (error != std::errc() || end != digits.data() + digits.size())
    return {{}, "not a whole number"};
  if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return {{}, "too large"};
  const auto value = static_cast<int64_t>(size);
  return {is_negative ? -value : value, {}};
}

Read<double> read_number(std::string_view text) {
  const std::string plain = without_separators(text);
  std::string_view unsigned_part = plain;
  if (unsigned_part.starts_with('-') || unsigned_part.starts_with('+'))
    unsigned_part.remove_prefix(1);
  for (std::string_view word : {".inf", ".nan", "inf", "nan", "infinity"})
    if (is_word(unsigned_part, word)) return {{}, "not a finite number"};
  if (unsigned_part == ".NaN" || unsigned_part == "NaN" || unsigned_part == ".Inf")
    return {{}, "not a finite number"};
  if (has_leading_zero(unsigned_part)) return {{}, "not clear: write it without the leading zero"};
  if (!is_decimal(plain)) return {{}, "not a number"};
  std::string_view for_parser = plain;
  if (for_parser.starts_with('+')) for_parser.remove_prefix(1);
  double value = 0;
  const auto [end, error] =
      std::from_chars(for_parser.data(), for_parser.data() + for_parser.size(), value);
  if (error == std::errc::result_out_of_range) return {{}, "too large or too small for a number"};
  if (error != std::errc() || end != for_parser.data() + for_parser.size())
    return {{}, "not a number"};
  if (!std::isfinite(value)) return {{}, "too large"};
  return {value, {}};
}

bool is_null_word(std::string_view text) {
  return text.empty() || text == "~" || is_word(text, "null");
}

std::string number_text(double value) {
  char buffer[64];
  if (std::nearbyint(value) == value && std::abs(value) < 1e15) {
    const auto whole = static_cast<int64_t>(value);
    return {buffer, std::to_chars(buffer, buffer + sizeof buffer, whole).ptr};
  }
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}

}  // namespace isogrid
