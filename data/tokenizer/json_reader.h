#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace isogrid {

/// Reads JSON from front to back without building a tree, so that memory follows what is kept.
/// Strict RFC 8259, nesting at most kMaxDepth, no recursion. Errors name file, line and column.
class JsonReader {
 public:
  static constexpr int kMaxDepth = 64;

  /// `text` must be UTF-8; `name` stands for the file in messages, whose line `first_line` is the
  /// first one of the text. Both must outlive the reader.
  JsonReader(std::string_view text, const std::string& name, size_t first_line = 1)
      : text_(text), name_(name), first_line_(first_line) {}
  /// A reader of the value that starts at `at`, as value_at() gave it.
  JsonReader at(size_t place) const;

  enum class Type { object, array, string, number, boolean, null };
  Type type();

  /// for (r.enter_object(); r.next_key(key);) { ... read or skip one value ... }
  void enter_object();
  bool next_key(std::string& key);
  void enter_array();
  bool next_item();

  /// Valid until the next string is read.
  std::string_view string();
  int64_t integer();
  double number();
  bool boolean();
  void null();
  /// Checks the syntax of the value and steps over it.
  void skip();
  /// Where the next value starts.
  size_t place();
  size_t text_size() const { return text_.size(); }
  /// Nothing but white space may follow.
  void finish();

  [[noreturn]] void fail_here(std::string_view what) const { fail_at(at_, what); }
  [[noreturn]] void fail_at(size_t place, std::string_view what) const;

 private:
  char peek();
  void expect(char wanted, std::string_view what);
  void literal(std::string_view word);
  void escape(std::string& out);
  uint32_t hex4();
  std::string_view scan_number(bool& integral);
  bool next_in(char close);

  std::string_view text_;
  const std::string& name_;
  size_t first_line_;
  size_t at_ = 0;
  bool fresh_ = false;  // just behind an opening bracket
  int depth_ = 0;
  std::string buffer_;
};

std::string_view json_type_name(JsonReader::Type type);

}  // namespace isogrid
