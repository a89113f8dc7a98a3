#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// One value of a YAML text, with where it stands. Lines and columns count from 1.
struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string text;        // of a scalar
  bool is_quoted = false;  // "true" in quotes is a text
  int line = 0, column = 0;
  std::vector<YamlNode> items;  // of a list; of a map, the values
  std::vector<YamlNode> keys;   // of a map: scalars, one for each of the items
};

struct YamlEntry {
  const YamlNode& key;
  const YamlNode& value;
};
/// The keys and values of a map in their order; none of anything else.
std::vector<YamlEntry> entries_of(const YamlNode& map);

constexpr size_t yaml_byte_limit = size_t{1} << 20;
constexpr int yaml_depth_limit = 64;
constexpr size_t yaml_node_limit = 20000;

/// Reads the one document of `text`; an empty text is null. Anchors, aliases, tags, merge keys,
/// duplicate keys, several documents, control characters, bytes that are not UTF-8 and anything
/// over the limits are refused with exit code 78; `name` stands before the line in messages.
YamlNode parse_yaml(std::string_view text, const std::string& name);

/// `name:line:column`, or `name` alone where there are no lines.
std::string place_of(const std::string& name, const YamlNode& node);

}  // namespace isogrid
