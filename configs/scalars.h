#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace isogrid {

/// What a word in a file or on the command line means. One meaning per spelling:
/// - true: true, yes, on, 1; false: false, no, off, 0; in lower case, Capitalised or UPPER CASE
/// - whole numbers: 12, -1, +3, 1_000, 0x1f, 0o17, and 1e3 or 3.0 when nothing is lost;
///   012 is refused, because some read it as ten
/// - numbers: 2e-4, .5, 5., 1_000.5; no NaN, no infinity, nothing that overflows
/// - nothing: null, Null, NULL, ~ and an empty value

/// A value, or why the word is none: `problem` completes "... is ".
template <typename Value>
struct Read {
  std::optional<Value> value;
  std::string problem;
};

Read<bool> read_bool(std::string_view text);
Read<int64_t> read_integer(std::string_view text);
Read<double> read_number(std::string_view text);
bool is_null_word(std::string_view text);

/// The shortest text that reads back as the same number; whole ones without a point.
std::string number_text(double value);

}  // namespace isogrid
