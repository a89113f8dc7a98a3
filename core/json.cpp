#include "core/json.h"

#include <unordered_set>
#include <utility>

#include "core/format.h"
#include "core/io.h"
#include "core/json_reader.h"

namespace isogrid {
namespace {

Json read_value(JsonReader& reader);

Json read_number(JsonReader& reader) {
  const JsonNumber number = reader.number();
  if (number.kind == JsonNumber::Kind::natural) return number.natural;
  if (number.kind == JsonNumber::Kind::negative) return number.negative;
  return number.real;
}

// An ordered object looks a key up by walking all of them, so with many keys inserting through
// its own interface would take quadratic time; a set finds the duplicates instead.
Json read_object(JsonReader& reader) {
  Json::object_t object;
  std::unordered_set<std::string> seen;
  reader.begin_object();
  for (std::string_view view; reader.next_key(view);) {
    std::string key(view);
    if (!seen.insert(key).second) reader.refuse("key '", key, "' appears twice in one object");
    Json value = read_value(reader);
    static_cast<Json::object_t::Container&>(object).emplace_back(std::move(key), std::move(value));
  }
  return object;
}

Json read_value(JsonReader& reader) {
  switch (reader.peek()) {
    case JsonKind::object:
      return read_object(reader);
    case JsonKind::string:
      return std::string(reader.string());
    case JsonKind::number:
      return read_number(reader);
    case JsonKind::boolean:
      return reader.boolean();
    case JsonKind::null:
      reader.null();
      return nullptr;
    case JsonKind::array:
      break;
  }
  Json array = Json::array();
  reader.begin_array();
  while (reader.next_element()) array.push_back(read_value(reader));
  return array;
}

std::string shortened(const Json& value) {
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

}  // namespace

Json parse_json(std::string_view text, const std::string& name, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    fail(ExitCode::refused_input, name, ": came ", human_bytes(text.size()),
         " of JSON, allowed are ", human_bytes(limits.max_bytes));
  JsonReader reader(text, name, limits.max_depth);
  Json value = read_value(reader);
  reader.finish();
  return value;
}

Json read_json_file(const std::string& path, const JsonLimits& limits) {
  return parse_json(read_text_file(path, limits.max_bytes), path, limits);
}

std::string dump_json(const Json& value) { return value.dump(2) + "\n"; }

JsonFields::JsonFields(const Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object.is_object())
    fail(ExitCode::refused_input, where_, ": came ", shortened(object), ", allowed is an object");
}

bool JsonFields::has(const char* key) const {
  const auto found = object_.find(key);
  return found != object_.end() && !found->is_null();
}

bool JsonFields::is_null(const char* key) const {
  const auto found = object_.find(key);
  return found != object_.end() && found->is_null();
}

const Json& JsonFields::value(const char* key) const {
  if (!has(key)) fail(ExitCode::refused_input, where_, ": key '", prefix_, key, "' is missing");
  return *object_.find(key);
}

void JsonFields::refuse(const char* key, const std::string& allowed) const {
  fail(ExitCode::refused_input, where_, ": key '", prefix_, key, "': came ", shortened(value(key)),
       ", allowed is ", allowed);
}

int64_t JsonFields::integer(const char* key, int64_t least, int64_t most) const {
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
  constexpr int64_t kHighest = std::numeric_limits<int64_t>::max();
  const Json& field = value(key);
  const bool fits = field.is_number_integer() &&
                    (!field.is_number_unsigned() || field.get<uint64_t>() <= uint64_t{kHighest});
  const int64_t number = fits ? field.get<int64_t>() : 0;
  if (fits && number >= least && number <= most) return number;
  if (least == 1 && most == kHighest) refuse(key, "a positive integer");
  if (most == kHighest)
    refuse(key, least == kLowest ? "an integer" : concat("an integer, ", least, " or more"));
  refuse(key, concat("an integer from ", least, " to ", most));
}

double JsonFields::number(const char* key) const {
  const Json& field = value(key);
  if (!field.is_number()) refuse(key, "a number");
  return field.get<double>();
}

bool JsonFields::boolean(const char* key) const {
  const Json& field = value(key);
  if (!field.is_boolean()) refuse(key, "true or false");
  return field.get<bool>();
}

std::string JsonFields::string(const char* key) const {
  const Json& field = value(key);
  if (!field.is_string()) refuse(key, "a string");
  return field.get<std::string>();
}

std::vector<std::string> JsonFields::strings(const char* key) const {
  const Json& field = value(key);
  std::vector<std::string> all;
  if (!field.is_array()) refuse(key, "an array of strings");
  for (const Json& item : field) {
    if (!item.is_string()) refuse(key, "an array of strings");
    all.push_back(item.get<std::string>());
  }
  return all;
}

JsonFields JsonFields::object(const char* key) const {
  const Json& field = value(key);
  if (!field.is_object()) refuse(key, "an object");
  JsonFields inner(field, where_);
  inner.prefix_ = concat(prefix_, key, ".");
  return inner;
}

}  // namespace isogrid
