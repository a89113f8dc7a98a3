#include "core/json_reader.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/io.h"
#include "core/utf8.h"

namespace isogrid {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, uint32_t code) {
  const auto push = [&out](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    push(code);
  } else if (code < 0x800) {
    push(0xc0 | code >> 6), push(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    push(0xe0 | code >> 12), push(0x80 | (code >> 6 & 0x3f)), push(0x80 | (code & 0x3f));
  } else {
    push(0xf0 | code >> 18), push(0x80 | (code >> 12 & 0x3f));
    push(0x80 | (code >> 6 & 0x3f)), push(0x80 | (code & 0x3f));
  }
}

/// The length of the number at the front of `text` by the grammar of RFC 8259, 0 if none.
size_t number_length(std::string_view text, bool& is_integer) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t start = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    return i - start;
  };
  const auto at = [&](std::string_view set) {
    return i < text.size() && set.find(text[i]) != std::string_view::npos;
  };
  if (at("-")) ++i;
  const bool leading_zero = at("0");
  const size_t whole = digits();
  if (whole == 0 || (leading_zero && whole > 1)) return 0;
  is_integer = true;
  if (at(".")) {
    is_integer = false;
    ++i;
    if (digits() == 0) return 0;
  }
  if (at("eE")) {
    is_integer = false;
    ++i;
    if (at("+-")) ++i;
    if (digits() == 0) return 0;
  }
  return i;
}

}  // namespace

const char* describe(JsonKind kind) {
  switch (kind) {
    case JsonKind::object:
      return "an object";
    case JsonKind::array:
      return "an array";
    case JsonKind::string:
      return "a string";
    case JsonKind::number:
      return "a number";
    case JsonKind::boolean:
      return "true or false";
    case JsonKind::null:
      return "null";
  }
  return "nothing";
}

JsonReader::JsonReader(std::string_view text, std::string name, int max_depth, size_t first_line)
    : text_(text), name_(std::move(name)), max_depth_(max_depth), first_line_(first_line) {}

size_t JsonReader::place() {
  skip_space();
  return position_;
}

JsonReader JsonReader::at(size_t place) const {
  JsonReader reader(text_, name_, max_depth_, first_line_);
  reader.position_ = reader.mark_ = place;
  return reader;
}

void JsonReader::refuse_at(size_t position, const std::string& message) const {
  const std::string_view before = text_.substr(0, position);
  const size_t line =
      first_line_ + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  const size_t start = before.rfind('\n');  // npos + 1 is 0
  fail(ExitCode::refused_input, name_, ":", line, ":", position - start, ": ",
       shown_text(message, message.size()));
}

void JsonReader::skip_space() {
  while (!at_end()) {
    const unsigned char c = here();
    if (c != ' ' && c != '\n' && c != '\t' && c != '\r') return;
    ++position_;
  }
}

JsonKind JsonReader::peek() {
  skip_space();
  mark_ = position_;
  if (at_end()) refuse("came the end of the file where a value is needed");
  switch (here()) {
    case '{':
      return JsonKind::object;
    case '[':
      return JsonKind::array;
    case '"':
      return JsonKind::string;
    case 't':
    case 'f':
      return JsonKind::boolean;
    case 'n':
      return JsonKind::null;
    default:
      break;
  }
  if (here() == '-' || is_digit(text_[position_])) return JsonKind::number;
  refuse("came '", shown_text(text_.substr(position_), 1), "' where a value is needed");
}

JsonKind JsonReader::expect(JsonKind kind) {
  const JsonKind came = peek();
  if (came != kind) refuse("came ", describe(came), ", allowed is ", describe(kind));
  return came;
}

void JsonReader::begin(char bracket, JsonKind kind) {
  expect(kind);
  if (fresh_.size() == static_cast<size_t>(max_depth_))
    refuse("came '", bracket, "' at depth ", max_depth_ + 1, ", allowed depth is ", max_depth_);
  ++position_;
  fresh_.push_back(true);
}

void JsonReader::begin_object() { begin('{', JsonKind::object); }
void JsonReader::begin_array() { begin('[', JsonKind::array); }

bool JsonReader::next(char closing) {
  skip_space();
  mark_ = position_;
  if (at_end()) refuse("came the end of the file, '", closing, "' is missing");
  const bool first = fresh_.back();
  fresh_.back() = false;
  if (text_[position_] == closing) {
    ++position_;
    fresh_.pop_back();
    return false;
  }
  if (first) return true;
  if (here() != ',')
    refuse("came '", shown_text(text_.substr(position_), 1), "', allowed is ',' or '", closing,
           "'");
  ++position_;
  return true;
}

bool JsonReader::next_key(std::string_view& key) {
  if (!next('}')) return false;
  skip_space();
  mark_ = position_;
  if (at_end() || here() != '"') refuse("a key in double quotes is missing here");
  key = read_string();
  skip_space();
  if (at_end() || here() != ':') refuse_at(position_, "':' is missing after a key");
  ++position_;
  return true;
}

bool JsonReader::next_element() { return next(']'); }

std::string_view JsonReader::string() {
  expect(JsonKind::string);
  return read_string();
}

// A string without escapes is a view into the text; only one with escapes is copied.
std::string_view JsonReader::read_string() {
  const size_t start = ++position_;
  bool copied = false;
  for (size_t run = start;;) {
    if (at_end()) refuse("came the end of the file inside a string");
    const unsigned char c = here();
    if (c == '"' || c == '\\') {
      if (c == '\\' || copied) {
        if (!copied) unescaped_.clear();
        copied = true;
        unescaped_.append(text_.substr(run, position_ - run));
      }
      if (c == '"') {
        const std::string_view value =
            copied ? std::string_view(unescaped_) : text_.substr(start, position_ - start);
        ++position_;
        return value;
      }
      unescape();
      run = position_;
    } else if (c < 0x20) {
      refuse_at(position_,
                concat("came the control character ", int{c}, " inside a string; write \\u00",
                       c < 16 ? "0" : "1", "0123456789abcdef"[c % 16]));
    } else if (c < 0x80) {
      ++position_;
    } else {
      const size_t length = utf8_character(text_, position_);
      if (length == 0)
        refuse_at(position_, concat("came byte ", int{c}, ", which is no UTF-8 here"));
      position_ += length;
    }
  }
}

void JsonReader::unescape() {
  const size_t start = position_++;
  constexpr std::string_view kShort = "\"\\/bfnrt", kMeaning = "\"\\/\b\f\n\r\t";
  const char c = at_end() ? '\0' : text_[position_++];
  if (const size_t i = kShort.find(c); c != '\0' && i != std::string_view::npos) {
    unescaped_ += kMeaning[i];
    return;
  }
  if (c != 'u')
    refuse_at(start,
              "came an unknown escape; allowed are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
  uint32_t code = hex4();
  if (code >= 0xd800 && code < 0xe000) {
    const bool paired = code < 0xdc00 && text_.substr(position_, 2) == "\\u";
    if (paired) position_ += 2;
    const uint32_t low = paired ? hex4() : 0;
    if (low < 0xdc00 || low >= 0xe000) refuse_at(start, "came half of a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  append_utf8(unescaped_, code);
}

uint32_t JsonReader::hex4() {
  const std::string_view digits = text_.substr(position_, 4);
  uint32_t code = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (error != std::errc() || end != digits.data() + 4)
    refuse_at(position_, "came something else than four hexadecimal digits after \\u");
  position_ += 4;
  return code;
}

JsonNumber JsonReader::number() {
  expect(JsonKind::number);
  bool is_integer = false;
  const size_t length = number_length(text_.substr(position_), is_integer);
  const char* start = text_.data() + position_;
  const char* end = start + length;
  if (length == 0)
    refuse("came '", shown_text(text_.substr(position_), 20), "', which is no JSON number");
  position_ += length;
  JsonNumber value;
  if (is_integer && *start != '-') {
    if (std::from_chars(start, end, value.natural).ec == std::errc()) return value;
  } else if (is_integer) {
    value.kind = JsonNumber::Kind::negative;
    if (std::from_chars(start, end, value.negative).ec == std::errc()) return value;
  }
  value.kind = JsonNumber::Kind::real;
  if (std::from_chars(start, end, value.real).ec != std::errc())
    refuse("came ", shown_text({start, length}), ", which does not fit a 64-bit float");
  return value;
}

uint64_t JsonReader::natural(std::string_view field) {
  if (const JsonKind kind = peek(); kind != JsonKind::number)
    refuse("key '", field, "': came ", describe(kind), ", allowed is an integer, 0 or more");
  const size_t start = position_;
  const JsonNumber value = number();
  if (value.kind != JsonNumber::Kind::natural)
    refuse("key '", field, "': came ", shown_text(text_.substr(start, position_ - start)),
           ", allowed is an integer, 0 or more, of at most 64 bits");
  return value.natural;
}

void JsonReader::expect_word(std::string_view word) {
  if (text_.substr(position_, word.size()) != word)
    refuse("came '", shown_text(text_.substr(position_), 6), "', allowed is ", word);
  position_ += word.size();
}

bool JsonReader::boolean() {
  expect(JsonKind::boolean);
  const bool value = here() == 't';
  expect_word(value ? "true" : "false");
  return value;
}

void JsonReader::null() {
  expect(JsonKind::null);
  expect_word("null");
}

void JsonReader::skip() {
  switch (peek()) {
    case JsonKind::string:
      string();
      return;
    case JsonKind::number:
      number();
      return;
    case JsonKind::boolean:
      boolean();
      return;
    case JsonKind::null:
      null();
      return;
    case JsonKind::array:
      begin_array();
      while (next_element()) skip();
      return;
    case JsonKind::object:
      begin_object();
      for (std::string_view key; next_key(key);) skip();
  }
}

void JsonReader::finish() {
  skip_space();
  mark_ = position_;
  if (!at_end())
    refuse("came '", shown_text(text_.substr(position_), 20), "' after the end of the JSON value");
}

}  // namespace isogrid
