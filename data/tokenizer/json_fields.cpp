#include "data/tokenizer/limits.h"
#include "data/tokenizer/tokenizer_json.h"

namespace isogrid {

SectionFields::SectionFields(JsonReader object, std::string path)
    : object_(object), place_(object_.place()), path_(std::move(path)) {
  JsonReader reader = object_;
  if (reader.peek() != JsonKind::object)
    reader.refuse(concat(path_.empty() ? "the file" : path_, " is ", describe(reader.peek()),
                         "; an object is needed"));
  reader.begin_object();
  for (std::string_view key; reader.next_key(key);) {
    if (!places_.emplace(key, reader.place()).second)
      reader.refuse(concat(path_, path_.empty() ? "" : ".", key, " is there twice"));
    reader.skip();
  }
  end_ = reader.place();
}

void SectionFields::finish() const { object_.at(end_).finish(); }

const size_t* SectionFields::find(std::string_view key) const {
  const auto found = places_.find(key);
  return found == places_.end() ? nullptr : &found->second;
}

bool SectionFields::has(std::string_view key) const {
  const size_t* place = find(key);
  return place && object_.at(*place).peek() != JsonKind::null;
}

JsonReader SectionFields::at(std::string_view key) const {
  const size_t* place = find(key);
  if (!place)
    object_.at(place_).refuse(concat(path_, path_.empty() ? "" : ".", key, " is missing"));
  return object_.at(*place);
}

void SectionFields::refuse(std::string_view key, std::string_view what) const {
  const size_t* place = find(key);
  object_.at(place ? *place : place_).refuse(concat(path_, path_.empty() ? "" : ".", key, what));
}

std::string SectionFields::text(std::string_view key) const {
  JsonReader reader = at(key);
  if (reader.peek() != JsonKind::string)
    refuse(key, concat(" is ", describe(reader.peek()), "; a string is needed"));
  return std::string(reader.string());
}

std::string SectionFields::text(std::string_view key, std::string fallback) const {
  return has(key) ? text(key) : fallback;
}

bool SectionFields::flag(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  JsonReader reader = at(key);
  if (reader.peek() != JsonKind::boolean)
    refuse(key, concat(" is ", describe(reader.peek()), "; true or false is needed"));
  return reader.boolean();
}

uint64_t SectionFields::natural(std::string_view key) const {
  JsonReader reader = at(key);
  return reader.natural(concat(path_, path_.empty() ? "" : ".", key));
}

namespace {

void append_steps(JsonReader section, const std::string& path, std::string_view list_key, int depth,
                  std::vector<SectionFields>& steps) {
  SectionFields step(section, path);
  if (step.text("type") != "Sequence") {
    if (steps.size() == kTokenizerSteps)
      step.refuse("type", concat(": more than ", kTokenizerSteps, " steps"));
    steps.push_back(std::move(step));
    return;
  }
  if (depth == 4) step.refuse("type", ": Sequences nested too deep");
  JsonReader list = step.at(list_key);
  if (list.peek() != JsonKind::array) step.refuse(list_key, " must be an array");
  list.begin_array();
  for (size_t i = 0; list.next_element(); ++i) {
    append_steps(list, concat(path, ".", list_key, "[", i, "]"), list_key, depth + 1, steps);
    list.skip();
  }
}

}  // namespace

std::vector<SectionFields> read_steps(JsonReader section, const std::string& path,
                                      std::string_view list_key) {
  std::vector<SectionFields> steps;
  append_steps(section, path, list_key, 0, steps);
  return steps;
}

}  // namespace isogrid
