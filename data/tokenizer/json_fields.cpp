#include "data/tokenizer/limits.h"
#include "data/tokenizer/tokenizer_json.h"

namespace isogrid {

JsonFields::JsonFields(JsonReader object, std::string path)
    : object_(object), place_(object_.place()), path_(std::move(path)) {
  JsonReader reader = object_;
  if (reader.type() != JsonReader::Type::object)
    reader.fail_here(concat(path_.empty() ? "the file" : path_, " is ",
                            json_type_name(reader.type()), "; an object is needed"));
  reader.enter_object();
  for (std::string key; reader.next_key(key);) {
    const size_t place = reader.place();
    if (!places_.emplace(key, place).second)
      reader.fail_here(concat(path_, path_.empty() ? "" : ".", key, " is there twice"));
    reader.skip();
  }
}

const size_t* JsonFields::find(std::string_view key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &found->second;
}

bool JsonFields::has(std::string_view key) const {
  const size_t* place = find(key);
  return place && object_.at(*place).type() != JsonReader::Type::null;
}

JsonReader JsonFields::at(std::string_view key) const {
  const size_t* place = find(key);
  if (!place) object_.fail_at(place_, concat(path_, path_.empty() ? "" : ".", key, " is missing"));
  return object_.at(*place);
}

void JsonFields::fail(std::string_view key, std::string_view what) const {
  const size_t* place = find(key);
  object_.fail_at(place ? *place : place_, concat(path_, path_.empty() ? "" : ".", key, what));
}

std::string JsonFields::text(std::string_view key) const {
  JsonReader reader = at(key);
  if (reader.type() != JsonReader::Type::string)
    fail(key, concat(" is ", json_type_name(reader.type()), "; a string is needed"));
  return std::string(reader.string());
}

std::string JsonFields::text(std::string_view key, std::string fallback) const {
  return has(key) ? text(key) : fallback;
}

bool JsonFields::flag(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  JsonReader reader = at(key);
  if (reader.type() != JsonReader::Type::boolean)
    fail(key, concat(" is ", json_type_name(reader.type()), "; true or false is needed"));
  return reader.boolean();
}

int64_t JsonFields::integer(std::string_view key) const {
  JsonReader reader = at(key);
  if (reader.type() != JsonReader::Type::number)
    fail(key, concat(" is ", json_type_name(reader.type()), "; a whole number is needed"));
  return reader.integer();
}

namespace {

void append_steps(JsonReader section, const std::string& path, std::string_view list_key,
                  int depth, std::vector<JsonFields>& steps) {
  JsonFields step(section, path);
  if (step.text("type") != "Sequence") {
    if (steps.size() == kTokenizerSteps)
      step.fail("type", concat(": more than ", kTokenizerSteps, " steps"));
    steps.push_back(std::move(step));
    return;
  }
  if (depth == 4) step.fail("type", ": Sequences nested too deep");
  JsonReader list = step.at(list_key);
  if (list.type() != JsonReader::Type::array) step.fail(list_key, " must be an array");
  list.enter_array();
  for (size_t i = 0; list.next_item(); ++i) {
    append_steps(list, concat(path, ".", list_key, "[", i, "]"), list_key, depth + 1, steps);
    list.skip();
  }
}

}  // namespace

std::vector<JsonFields> read_steps(JsonReader section, const std::string& path,
                                   std::string_view list_key) {
  std::vector<JsonFields> steps;
  append_steps(section, path, list_key, 0, steps);
  return steps;
}

}  // namespace isogrid
