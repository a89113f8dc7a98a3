#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace isogrid {

enum class JsonKind { object, array, string, number, boolean, null };

const char* describe(JsonKind kind);  // "an object", "a number", ...

/// A number as it stands in the file: an integer where it is written as one and fits.
struct JsonNumber {
  enum class Kind { negative, natural, real } kind = Kind::natural;
  int64_t negative = 0;  // below zero
  uint64_t natural = 0;
  double real = 0;
};

/// Reads strict JSON (RFC 8259, UTF-8 checked, no lone surrogates) front to back without building
/// anything: for strangers' files that are large or must be checked as they are read. Depth is
/// bounded; every failure is exit code 65 with file:line:column.
///
///   reader.begin_object();
///   for (std::string_view key; reader.next_key(key);) ...read one value...
///   reader.finish();
class JsonReader {
 public:
  static constexpr int kMaxDepth = 64;

  /// `text` must outlive the reader; it begins at line `first_line` of what `name` names.
  JsonReader(std::string_view text, std::string name, int max_depth = kMaxDepth,
             size_t first_line = 1);

  JsonKind peek();
  void begin_object();
  /// Moves to the next key; false at the end of the object. `key` lives until the next read of a
  /// string or key.
  bool next_key(std::string_view& key);
  void begin_array();
  bool next_element();
  std::string_view string();
  JsonNumber number();
  uint64_t natural(std::string_view field);  // an integer, zero or more
  bool boolean();
  void null();
  void skip();
  /// Only white space may follow.
  void finish();

  /// Where the next value starts, and a reader that starts there: for fields whose order in the
  /// file is not the order they are needed in.
  size_t place();
  JsonReader at(size_t place) const;
  size_t text_size() const { return text_.size(); }

  /// Points at the value or key read last (or looked at by peek).
  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    refuse_at(mark_, concat(parts...));
  }

 private:
  [[noreturn]] void refuse_at(size_t position, const std::string& message) const;
  void skip_space();
  void begin(char bracket, JsonKind kind);
  bool next(char closing);
  void expect_word(std::string_view word);
  JsonKind expect(JsonKind kind);
  std::string_view read_string();
  void unescape();
  uint32_t hex4();
  bool at_end() const { return position_ == text_.size(); }
  unsigned char here() const { return static_cast<unsigned char>(text_[position_]); }

  std::string_view text_;
  std::string name_;
  int max_depth_;
  size_t first_line_;
  size_t position_ = 0;
  size_t mark_ = 0;
  std::vector<bool> fresh_;  // one for each open bracket: nothing read inside yet
  std::string unescaped_;
};

}  // namespace isogrid
