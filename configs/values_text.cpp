#include <charconv>

#include "configs/scalars.h"
#include "configs/values.h"
#include "core/error.h"

namespace isogrid {
namespace {

bool is_plain_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '/' || c == '-' || c == '+' || c == ':';
}

/// Whether a text means itself without quotes, in every position of a line.
bool may_stand_plain(std::string_view text) {
  if (is_null_word(text) || text == "none" || text == "None" || text == "---" || text == "...")
    return false;
  const char first = text.front();
  if (first == '-' || first == ':' || text.back() == ':') return false;
  for (char c : text)
    if (!is_plain_character(c)) return false;
  return true;
}

std::string quoted(std::string_view text) {
  constexpr char hex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\r')
      out += "\\r";
    else if (byte < 0x20 || byte == 0x7F)
      ((out += "\\x") += hex[byte >> 4]) += hex[byte & 15];
    else
      out += c;
  }
  return out += '"';
}

struct YamlText {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return number_text(value); }
  std::string operator()(const std::string& value) const { return yaml_of(value); }
  template <typename Type>
  std::string operator()(const std::optional<Type>& value) const {
    return value ? (*this)(*value) : "null";
  }
  template <typename Type>
  std::string operator()(const std::vector<Type>& values) const {
    std::string out;
    for (const Type& value : values) out += (out.empty() ? "" : ", ") + (*this)(value);
    return "[" + out + "]";
  }
  std::string operator()(const std::map<std::string, double>& values) const {
    std::string out;
    for (const auto& [name, value] : values)
      out += concat(out.empty() ? "" : ", ", yaml_of(name), ": ", number_text(value));
    return "{" + out + "}";
  }
};

struct KindText {
  std::string_view operator()(const bool*) const { return "switch"; }
  std::string_view operator()(const int64_t*) const { return "whole number"; }
  std::string_view operator()(const double*) const { return "number"; }
  std::string_view operator()(const std::string*) const { return "text"; }
  std::string_view operator()(const std::vector<std::string>*) const { return "list"; }
  std::string_view operator()(const std::vector<double>*) const { return "list of numbers"; }
  std::string_view operator()(const std::map<std::string, double>*) const { return "mapping"; }
  template <typename Type>
  std::string_view operator()(const std::optional<Type>*) const {
    return (*this)(static_cast<Type*>(nullptr));
  }
};

}  // namespace

std::string yaml_of(std::string_view text) {
  return may_stand_plain(text) ? std::string(text) : quoted(text);
}

std::string yaml_of(const Field& field) {
  return std::visit([](auto* member) { return YamlText{}(*member); }, field.value);
}

std::string plain_text_of(const Field& field) {
  if (auto text = std::get_if<std::string*>(&field.value)) return **text;
  if (auto text = std::get_if<std::optional<std::string>*>(&field.value))
    return (*text)->value_or("null");
  return yaml_of(field);
}

std::string yaml_of(const YamlNode& node) {
  std::string out;
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "null";
    case YamlNode::Kind::scalar:
      return node.is_quoted ? quoted(node.text) : yaml_of(node.text);
    case YamlNode::Kind::list:
      for (const YamlNode& item : node.items) out += (out.empty() ? "" : ", ") + yaml_of(item);
      return "[" + out + "]";
    case YamlNode::Kind::map:
      break;
  }
  for (const auto& [key, item] : entries_of(node))
    out += concat(out.empty() ? "" : ", ", yaml_of(key.text), ": ", yaml_of(item));
  return "{" + out + "}";
}

std::string_view kind_text(const Field& field) {
  return std::visit([](auto* member) { return KindText{}(member); }, field.value);
}

}  // namespace isogrid
