#include <cstring>

#include "core/error.h"
#include "core/gguf.h"
#include "core/utf8.h"

namespace isogrid {
namespace {

struct KindRow {
  const char* name;
  uint64_t bytes;
};
constexpr KindRow kKinds[] = {{"u8", 1},  {"i8", 1},  {"u16", 2},  {"i16", 2},    {"u32", 4},
                              {"i32", 4}, {"f32", 4}, {"bool", 1}, {"string", 0}, {"array", 0},
                              {"u64", 8}, {"i64", 8}, {"f64", 8}};

template <typename T>
T loaded(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// body(value of the kind's own type)
template <typename Body>
auto with_number(GgufKind kind, const std::byte* from, Body body) -> decltype(body(uint8_t{})) {
  switch (kind) {
    case GgufKind::u8:
      return body(loaded<uint8_t>(from));
    case GgufKind::i8:
      return body(loaded<int8_t>(from));
    case GgufKind::u16:
      return body(loaded<uint16_t>(from));
    case GgufKind::i16:
      return body(loaded<int16_t>(from));
    case GgufKind::u32:
      return body(loaded<uint32_t>(from));
    case GgufKind::i32:
      return body(loaded<int32_t>(from));
    case GgufKind::u64:
      return body(loaded<uint64_t>(from));
    case GgufKind::i64:
      return body(loaded<int64_t>(from));
    case GgufKind::f32:
      return body(loaded<float>(from));
    case GgufKind::f64:
      return body(loaded<double>(from));
    case GgufKind::boolean:
    case GgufKind::string:
    case GgufKind::array:
      break;
  }
  return {};
}

bool is_number(GgufKind kind) {
  return kind != GgufKind::boolean && kind != GgufKind::string && kind != GgufKind::array;
}

}  // namespace

const char* gguf_kind_name(GgufKind kind) { return kKinds[static_cast<size_t>(kind)].name; }
uint64_t gguf_kind_bytes(GgufKind kind) { return kKinds[static_cast<size_t>(kind)].bytes; }

bool GgufValue::is_integer() const {
  return is_number(kind) && kind != GgufKind::f32 && kind != GgufKind::f64;
}

std::optional<uint64_t> GgufValue::natural() const {
  if (!is_integer()) return std::nullopt;
  return with_number(kind, bytes.data(), [](auto value) -> std::optional<uint64_t> {
    if (value < decltype(value){0}) return std::nullopt;
    return static_cast<uint64_t>(value);
  });
}

std::optional<double> GgufValue::number() const {
  if (!is_number(kind)) return std::nullopt;
  return with_number(kind, bytes.data(), [](auto value) -> std::optional<double> {
    return static_cast<double>(value);
  });
}

std::optional<bool> GgufValue::boolean() const {
  if (kind != GgufKind::boolean) return std::nullopt;
  return bytes[0] != std::byte{0};
}

std::optional<std::string_view> GgufValue::text() const {
  if (kind != GgufKind::string) return std::nullopt;
  return as_text(bytes);
}

std::vector<std::string_view> GgufValue::texts() const {
  std::vector<std::string_view> list;
  if (kind != GgufKind::array || element != GgufKind::string) return list;
  list.reserve(count);
  size_t at = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const auto length = loaded<uint64_t>(bytes.data() + at);
    list.push_back(as_text(bytes.subspan(at + sizeof length, length)));
    at += sizeof length + length;
  }
  return list;
}

std::vector<double> GgufValue::numbers() const {
  std::vector<double> list;
  if (kind != GgufKind::array || !is_number(element)) return list;
  list.reserve(count);
  const uint64_t size = gguf_kind_bytes(element);
  for (uint64_t i = 0; i < count; ++i)
    list.push_back(with_number(element, bytes.data() + i * size,
                               [](auto value) { return static_cast<double>(value); }));
  return list;
}

const GgufValue& GgufHeader::wanted(std::string_view key, const char* allowed) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    fail(ExitCode::refused_input, name_, ": key '", key, "' is missing; allowed is ", allowed);
  return *value;
}

void GgufHeader::refuse(std::string_view key, const std::string& allowed) const {
  const GgufValue* value = find(key);
  if (value == nullptr)
    fail(ExitCode::refused_input, name_, ": key '", key, "' is missing; allowed is ", allowed);
  std::string came = gguf_kind_name(value->kind);
  if (const auto text = value->text())
    came = "'" + shown_text(*text) + "'";
  else if (const auto number = value->number())
    came = concat(came, " ", *number);
  else if (value->kind == GgufKind::array)
    came = concat("an array of ", value->count, " ", gguf_kind_name(value->element));
  fail(ExitCode::refused_input, name_, ": key '", key, "': came ", came, ", allowed is ", allowed);
}

std::string GgufHeader::text(std::string_view key) const {
  const auto text = wanted(key, "a string").text();
  if (!text || !is_utf8(*text)) refuse(key, "text in UTF-8");
  return std::string(*text);
}
uint64_t GgufHeader::natural(std::string_view key) const {
  const auto value = wanted(key, "an integer, zero or more").natural();
  if (!value) refuse(key, "an integer, zero or more");
  return *value;
}
double GgufHeader::number(std::string_view key) const {
  const auto value = wanted(key, "a number").number();
  if (!value) refuse(key, "a number");
  return *value;
}
std::string GgufHeader::text_or(std::string_view key, std::string fallback) const {
  return has(key) ? text(key) : std::move(fallback);
}
uint64_t GgufHeader::natural_or(std::string_view key, uint64_t fallback) const {
  return has(key) ? natural(key) : fallback;
}
double GgufHeader::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}
bool GgufHeader::boolean_or(std::string_view key, bool fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->boolean()) refuse(key, "true or false");
  return *value->boolean();
}
std::vector<std::string_view> GgufHeader::texts(std::string_view key) const {
  const GgufValue& value = wanted(key, "an array of strings");
  if (value.kind != GgufKind::array || value.element != GgufKind::string)
    refuse(key, "an array of strings");
  return value.texts();
}
std::vector<double> GgufHeader::numbers(std::string_view key) const {
  const GgufValue& value = wanted(key, "an array of numbers");
  if (value.kind != GgufKind::array || !is_number(value.element))
    refuse(key, "an array of numbers");
  return value.numbers();
}

}  // namespace isogrid
