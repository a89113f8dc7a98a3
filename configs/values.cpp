#include "configs/values.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "configs/scalars.h"
#include "core/error.h"

namespace isogrid {
namespace {

template <typename Type>
struct IsOptional : std::false_type {};
template <typename Type>
struct IsOptional<std::optional<Type>> : std::true_type {};

std::string came(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "nothing came";
    case YamlNode::Kind::list:
      return "a list came";
    case YamlNode::Kind::map:
      return "a mapping came";
    case YamlNode::Kind::scalar:
      break;
  }
  const std::string& text = node.text;
  return "'" + (text.size() > 60 ? text.substr(0, 57) + "..." : text) + "' came";
}

bool says_none(const Field& field, const YamlNode& node) {
  if (node.kind == YamlNode::Kind::null) return true;
  if (node.kind != YamlNode::Kind::scalar || node.is_quoted) return false;
  const bool is_free_text =
      std::holds_alternative<std::optional<std::string>*>(field.value) && field.choices.empty();
  const bool is_choice =
      std::find(field.choices.begin(), field.choices.end(), node.text) != field.choices.end();
  return !is_free_text && !is_choice && (node.text == "none" || node.text == "None");
}

std::string problem_with_number(const Field& field, double value) {
  if (field.least && (field.least_excluded ? value <= *field.least : value < *field.least))
    return "out of range";
  if (field.most && (field.most_excluded ? value >= *field.most : value > *field.most))
    return "out of range";
  if (field.counting == Counting::plain) return {};
  if (field.counting == Counting::share_or_count_not_one && value == 1)
    return "one row or all of them? That is not clear";
  return value > 1 && std::nearbyint(value) != value ? "neither a share nor a count" : "";
}

std::string read_into(const Field&, std::string_view text, bool& out) {
  const auto read = read_bool(text);
  if (read.value) out = *read.value;
  return read.problem;
}

std::string read_into(const Field& field, std::string_view text, int64_t& out) {
  const auto read = read_integer(text);
  if (!read.value) return read.problem;
  const std::string problem = problem_with_number(field, static_cast<double>(*read.value));
  if (problem.empty()) out = *read.value;
  return problem;
}

std::string read_into(const Field& field, std::string_view text, double& out) {
  const auto read = read_number(text);
  if (!read.value) return read.problem;
  const std::string problem = problem_with_number(field, *read.value);
  if (problem.empty()) out = *read.value;
  return problem;
}

std::string read_into(const Field& field, std::string_view text, std::string& out) {
  std::string value(text);
  for (const Spelling& spelling : field.spellings)
    if (value == spelling.written) value = spelling.meant;
  if (field.takes_bool)
    if (const auto read = read_bool(text); read.value) value = *read.value ? "true" : "false";
  const auto is_listed = [&](const auto& names) {
    return std::find(names.begin(), names.end(), value) != names.end();
  };
  if (!field.choices.empty() && !is_listed(field.choices) && !is_listed(field.choices_to_come))
    return "not among the choices";
  if (field.problem_with)
    if (std::string problem = field.problem_with(value); !problem.empty()) return problem;
  out = std::move(value);
  return {};
}

std::vector<YamlNode> list_items(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::list) return node.items;
  std::vector<YamlNode> items;
  for (size_t begin = 0; begin <= node.text.size();) {
    const size_t comma = std::min(node.text.find(',', begin), node.text.size());
    YamlNode item = node;
    item.text = node.text.substr(begin, comma - begin);
    item.text.erase(0, item.text.find_first_not_of(" \t"));
    item.text.erase(item.text.find_last_not_of(" \t") + 1);
    if (!item.text.empty()) items.push_back(std::move(item));
    begin = comma + 1;
  }
  return items;
}

template <typename Element>
std::string assign_list(const Field& field, const YamlNode& node, std::vector<Element>& out) {
  if (node.kind == YamlNode::Kind::map) return came(node);
  std::vector<Element> values;
  if (node.kind != YamlNode::Kind::null && !says_none(field, node)) {
    for (const YamlNode& item : list_items(node)) {
      Element value{};
      if (item.kind != YamlNode::Kind::scalar) return concat(came(item), " inside the list");
      if (std::string problem = read_into(field, item.text, value); !problem.empty())
        return concat(came(item), ", ", problem);
      values.push_back(std::move(value));
    }
  }
  out = std::move(values);
  return {};
}

std::string assign_map(const Field& field, const YamlNode& node,
                       std::map<std::string, double>& out) {
  if (says_none(field, node)) return out.clear(), std::string();
  if (node.kind != YamlNode::Kind::map) return came(node);
  std::map<std::string, double> values;
  for (const auto& [key, item] : entries_of(node)) {
    const auto read = read_number(item.text);
    if (item.kind != YamlNode::Kind::scalar || !read.value)
      return concat(key.text, ": ", came(item), ", not a number");
    values[key.text] = *read.value;
  }
  out = std::move(values);
  return {};
}

template <typename Member>
std::string assign_member(const Field& field, const YamlNode& node, Member& out) {
  if constexpr (IsOptional<Member>::value) {
    if (says_none(field, node)) return out.reset(), std::string();
    typename Member::value_type value{};
    const std::string problem = assign_member(field, node, value);
    if (problem.empty()) out = std::move(value);
    return problem;
  } else {
    if (node.kind != YamlNode::Kind::scalar) return came(node);
    const std::string problem = read_into(field, node.text, out);
    return problem.empty() ? problem : concat(came(node), ", ", problem);
  }
}
std::string assign_member(const Field& field, const YamlNode& node, std::vector<std::string>& out) {
  return assign_list(field, node, out);
}
std::string assign_member(const Field& field, const YamlNode& node, std::vector<double>& out) {
  return assign_list(field, node, out);
}
std::string assign_member(const Field& field, const YamlNode& node,
                          std::map<std::string, double>& out) {
  return assign_map(field, node, out);
}

std::string range_text(const Field& field) {
  if (!field.least && !field.most) return {};
  const auto bound = [](bool excluded, const char* open, const char* closed, double value) {
    return concat(excluded ? open : closed, number_text(value));
  };
  if (!field.most) return bound(field.least_excluded, "above ", "at least ", *field.least);
  if (!field.least) return bound(field.most_excluded, "below ", "at most ", *field.most);
  return concat(bound(field.least_excluded, "above ", "from ", *field.least), " ",
                bound(field.most_excluded, "to below ", "to ", *field.most));
}

std::string with_range(std::string_view kind, const Field& field) {
  const std::string range = range_text(field);
  return range.empty() ? std::string(kind) : concat(kind, ", ", range);
}

struct AllowedText {
  const Field& field;

  std::string operator()(const bool*) const { return "true or false"; }
  std::string operator()(const int64_t*) const { return with_range("a whole number", field); }
  std::string operator()(const double*) const {
    switch (field.counting) {
      case Counting::plain:
        return with_range("a number", field);
      case Counting::share_or_count:
        return "a share below 1, or a whole number";
      case Counting::share_or_count_not_one:
        break;
    }
    return "a share below 1, or a whole number from 2 on";
  }
  std::string operator()(const std::string*) const {
    std::string names;
    for (std::string_view name : field.choices) names += concat(names.empty() ? "" : ", ", name);
    if (!names.empty()) return names;
    if (!field.allowed.empty()) return std::string(field.allowed);
    return field.takes_bool ? "a text, true or false" : "a text";
  }
  std::string operator()(const std::vector<std::string>*) const {
    return field.choices.empty() ? "a list, or names with commas between"
                                 : concat("any of ", (*this)(static_cast<std::string*>(nullptr)));
  }
  std::string operator()(const std::vector<double>*) const {
    return concat("a list of numbers", with_range("", field));
  }
  std::string operator()(const std::map<std::string, double>*) const {
    return "a mapping of names to numbers";
  }
  template <typename Type>
  std::string operator()(const std::optional<Type>*) const {
    return concat((*this)(static_cast<Type*>(nullptr)), ", or null");
  }
};

}  // namespace

std::string assign(const Field& field, const YamlNode& node) {
  const std::string problem =
      std::visit([&](auto* member) { return assign_member(field, node, *member); }, field.value);
  return problem.empty() ? problem : concat(problem, "; allowed: ", allowed_text(field));
}

YamlNode node_from_word(const Field& field, const std::string& word, const std::string& name) {
  const bool is_list = std::holds_alternative<std::vector<std::string>*>(field.value) ||
                       std::holds_alternative<std::vector<double>*>(field.value);
  const bool is_map = std::holds_alternative<std::map<std::string, double>*>(field.value);
  if ((is_list && word.starts_with('[')) || (is_map && word.starts_with('{'))) {
    YamlNode node = parse_yaml(word, name);
    node.line = 0;
    return node;
  }
  YamlNode node;
  if (is_null_word(word)) return node;
  node.kind = YamlNode::Kind::scalar;
  node.text = word;
  return node;
}

std::string allowed_text(const Field& field) {
  return std::visit([&](auto* member) { return AllowedText{field}(member); }, field.value);
}

bool is_switch(const Field& field) {
  return std::holds_alternative<bool*>(field.value) ||
         std::holds_alternative<std::optional<bool>*>(field.value);
}

std::string joined_problems(const std::string& name, const std::vector<std::string>& problems) {
  if (problems.size() == 1) return problems.front();
  std::string text = concat(name, name.empty() ? "" : ": ", problems.size(), " problems");
  for (const std::string& problem : problems) text += "\n  " + problem;
  return text;
}

}  // namespace isogrid
