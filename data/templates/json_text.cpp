#include "data/templates/json_text.h"

#include <array>
#include <charconv>
#include <cmath>

#include "core/json.h"

namespace isogrid {
namespace {

// Shortest digits that read back as the same double, laid out as Python's repr does: an exponent
// below 1e-4 and from 1e16 on, at least two exponent digits, always a point or an exponent.
std::string python_float(double value) {
  if (!std::isfinite(value))
    return std::isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity";
  const double size = std::abs(value);
  const bool exponent = size != 0 && (size < 1e-4 || size >= 1e16);
  std::array<char, 64> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                    exponent ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer.data(), end.ptr);
  if (!exponent && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void append_escape(std::string& out, unsigned char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += "\\u00";
  out += digits[c >> 4];
  out += digits[c & 15];
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          append_escape(out, static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void append_python_string(std::string& out, std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::string escape;
      append_escape(escape, static_cast<unsigned char>(c));
      out += "\\x" + escape.substr(4);
    } else {
      out += c;
    }
  }
  out += quote;
}

/// Writes a value; what differs between the two notations is in the members.
struct Writer {
  bool python = false;
  int indent = 0;
  std::string out;

  void line(int depth) {
    out += '\n';
    out.append(static_cast<size_t>(indent * depth), ' ');
  }
  void string(std::string_view text) {
    python ? append_python_string(out, text) : append_json_string(out, text);
  }
  void separate(bool first, int depth) {
    if (!first) out += indent > 0 ? "," : ", ";
    if (indent > 0) line(depth);
  }
  void scalar(const Json& value) {
    if (value.is_string()) {
      string(value.get_ref<const std::string&>());
    } else if (value.is_boolean()) {
      out += value.get<bool>() ? (python ? "True" : "true") : (python ? "False" : "false");
    } else if (value.is_null()) {
      out += python ? "None" : "null";
    } else if (value.is_number_float()) {
      out += python_float(value.get<double>());
    } else {
      out += value.dump();
    }
  }
  void write(const Json& value, int depth) {
    if (!value.is_structured()) return scalar(value);
    const bool object = value.is_object();
    out += object ? '{' : '[';
    bool first = true;
    for (auto item = value.begin(); item != value.end(); ++item) {
      separate(first, depth + 1);
      first = false;
      if (object) {
        string(item.key());
        out += ": ";
      }
      write(item.value(), depth + 1);
    }
    if (!first && indent > 0) line(depth);
    out += object ? '}' : ']';
  }
};

}  // namespace

std::string json_text(const Json& value, int indent) {
  Writer writer{.python = false, .indent = indent, .out = {}};
  writer.write(value, 0);
  return std::move(writer.out);
}

std::string python_text(const Json& value) {
  Writer writer{.python = true, .indent = 0, .out = {}};
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace isogrid
