#include "data/tokenizer/json_reader.h"

#include <charconv>
#include <cstring>

#include "data/tokenizer/utf8.h"

namespace isogrid {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_decimal(char c) { return c >= '0' && c <= '9'; }

}  // namespace

JsonReader JsonReader::at(size_t place) const {
  JsonReader reader(text_, name_, first_line_);
  reader.at_ = place;
  return reader;
}

void JsonReader::fail_at(size_t place, std::string_view what) const {
  size_t line = first_line_, line_start = 0;
  for (size_t i = 0; i < place && i < text_.size(); ++i)
    if (text_[i] == '\n') {
      ++line;
      line_start = i + 1;
    }
  fail(ExitCode::refused_input, name_, ":", line, ":", place - line_start + 1, ": ", what);
}

char JsonReader::peek() {
  while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

size_t JsonReader::place() {
  peek();
  return at_;
}

JsonReader::Type JsonReader::type() {
  switch (peek()) {
    case '{':
      return Type::object;
    case '[':
      return Type::array;
    case '"':
      return Type::string;
    case 't':
    case 'f':
      return Type::boolean;
    case 'n':
      return Type::null;
    default:
      if (text_.size() == at_) fail_here("the file ends where a value should stand");
      if (text_[at_] != '-' && !is_decimal(text_[at_])) fail_here("no JSON value starts here");
      return Type::number;
  }
}

void JsonReader::expect(char wanted, std::string_view what) {
  if (peek() != wanted || at_ == text_.size()) fail_here(what);
  ++at_;
}

void JsonReader::enter_object() {
  expect('{', "an object { ... } is needed here");
  if (++depth_ > kMaxDepth) fail_here(concat("nested deeper than ", kMaxDepth, " levels"));
  fresh_ = true;
}

void JsonReader::enter_array() {
  expect('[', "an array [ ... ] is needed here");
  if (++depth_ > kMaxDepth) fail_here(concat("nested deeper than ", kMaxDepth, " levels"));
  fresh_ = true;
}

bool JsonReader::next_in(char close) {
  const bool first = fresh_;
  fresh_ = false;
  const char c = peek();
  if (c == close) {
    ++at_;
    --depth_;
    return false;
  }
  if (first) return true;
  if (c != ',') fail_here(concat("',' or '", close, "' is needed here"));
  ++at_;
  return true;
}

bool JsonReader::next_item() { return next_in(']'); }

bool JsonReader::next_key(std::string& key) {
  if (!next_in('}')) return false;
  key = string();
  expect(':', "':' is needed after a key");
  return true;
}

std::string_view JsonReader::string() {
  expect('"', "a string is needed here");
  const size_t start = at_;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
         static_cast<unsigned char>(text_[at_]) >= 0x20)
    ++at_;
  if (at_ < text_.size() && text_[at_] == '"') return text_.substr(start, at_++ - start);
  buffer_.assign(text_, start, at_ - start);
  while (at_ < text_.size() && text_[at_] != '"') {
    if (static_cast<unsigned char>(text_[at_]) < 0x20)
      fail_here("a control character inside a string; write it as \\u00..");
    if (text_[at_] != '\\') {
      buffer_.push_back(text_[at_++]);
    } else {
      ++at_;
      escape(buffer_);
    }
  }
  if (at_ == text_.size()) fail_at(start - 1, "this string has no end");
  ++at_;
  return buffer_;
}

void JsonReader::escape(std::string& out) {
  const char kind = at_ < text_.size() ? text_[at_++] : '\0';
  constexpr std::string_view kShort = "\"\\/bfnrt", kMeaning = "\"\\/\b\f\n\r\t";
  if (const size_t i = kShort.find(kind); i != std::string_view::npos)
    return out.push_back(kMeaning[i]);
  if (kind != 'u') fail_here("unknown escape in a string");
  uint32_t code = hex4();
  if (code >= 0xD800 && code < 0xE000) {
    const bool pair = code < 0xDC00 && text_.substr(at_, 2) == "\\u";
    if (pair) at_ += 2;
    const uint32_t low = pair ? hex4() : 0;
    if (low < 0xDC00 || low > 0xDFFF)
      fail_here("half a surrogate pair, which is no character, in a string");
    code = 0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00);
  }
  append_utf8(out, code);
}

uint32_t JsonReader::hex4() {
  uint32_t code = 0;
  const std::string_view digits = text_.substr(at_, 4);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  if (digits.size() < 4 || error != std::errc() || end != digits.data() + 4)
    fail_here("four hexadecimal digits are needed after \\u");
  at_ += 4;
  return code;
}

std::string_view JsonReader::scan_number(bool& integral) {
  peek();
  const size_t start = at_;
  const auto digits = [this] {
    const size_t first = at_;
    while (at_ < text_.size() && is_decimal(text_[at_])) ++at_;
    if (at_ == first) fail_here("a number is needed here");
  };
  const auto have = [this](std::string_view any) {
    return at_ < text_.size() && any.find(text_[at_]) != std::string_view::npos;
  };
  integral = true;
  if (have("-")) ++at_;
  const bool zero = have("0");
  const size_t first = at_;
  digits();
  if (zero && at_ > first + 1) fail_at(start, "a number must not start with 0");
  if (have(".")) {
    integral = false;
    ++at_;
    digits();
  }
  if (have("eE")) {
    integral = false;
    ++at_;
    if (have("+-")) ++at_;
    digits();
  }
  return text_.substr(start, at_ - start);
}

int64_t JsonReader::integer() {
  bool integral = false;
  const std::string_view digits = scan_number(integral);
  int64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (!integral || result.ec != std::errc())
    fail_at(at_ - digits.size(), concat("'", digits, "' is not a whole number of 64 bits"));
  return value;
}

double JsonReader::number() {
  bool integral = false;
  const std::string_view digits = scan_number(integral);
  double value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (result.ec != std::errc())
    fail_at(at_ - digits.size(), concat("'", digits, "' is out of range"));
  return value;
}

void JsonReader::literal(std::string_view word) {
  peek();
  if (text_.substr(at_, word.size()) != word)
    fail_here(concat("'", word, "' is needed here"));
  at_ += word.size();
}

bool JsonReader::boolean() {
  const bool value = peek() == 't';
  literal(value ? "true" : "false");
  return value;
}

void JsonReader::null() { literal("null"); }

void JsonReader::skip() {
  const int outside = depth_;
  std::string open;  // the brackets entered here
  bool value_due = true;
  std::string key;
  do {
    if (value_due) switch (type()) {
        case Type::object:
          enter_object();
          open.push_back('}');
          break;
        case Type::array:
          enter_array();
          open.push_back(']');
          break;
        case Type::string:
          string();
          break;
        case Type::number: {
          bool integral;
          scan_number(integral);
          break;
        }
        case Type::boolean:
          boolean();
          break;
        case Type::null:
          null();
          break;
      }
    if (open.empty()) break;
    value_due = open.back() == '}' ? next_key(key) : next_item();
    if (!value_due) open.pop_back();
  } while (depth_ > outside || value_due);
}

void JsonReader::finish() {
  if (peek() != '\0' || at_ < text_.size()) fail_here("nothing may follow the document");
}

std::string_view json_type_name(JsonReader::Type type) {
  constexpr std::string_view kNames[] = {"an object", "an array",  "a string",
                                         "a number",  "a boolean", "null"};
  return kNames[static_cast<size_t>(type)];
}

}  // namespace isogrid
