#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "configs/yaml.h"
#include "core/fields.h"

namespace isogrid {

/// Writes what `node` says into the field's member. Returns "" or what is wrong with it, as
/// "came ...; allowed ...". The member is only changed by a value that is allowed.
std::string assign(const Field& field, const YamlNode& node);

/// A word of the command line as a YAML value: lists and maps may be written in their [a, b] and
/// {a: 1} forms, lists also as a,b.
YamlNode node_from_word(const Field& field, const std::string& word, const std::string& name);

/// The member's value as YAML on one line; reading it back gives the same value.
std::string yaml_of(const Field& field);
/// The same without quotes, for messages and comparisons.
std::string plain_text_of(const Field& field);
/// Any value as YAML on one line.
std::string yaml_of(const YamlNode& node);
/// A text as a YAML scalar, quoted only where it must be.
std::string yaml_of(std::string_view text);

/// "true or false", "a whole number, 1 or more", "lora, freeze, full", ...
std::string allowed_text(const Field& field);
/// The kind of value: "switch", "whole number", "text", "list", ...
std::string_view kind_text(const Field& field);
bool is_switch(const Field& field);

/// One problem as it is; several under a headline with the name of the file, if there is one.
std::string joined_problems(const std::string& name, const std::vector<std::string>& problems);

}  // namespace isogrid
