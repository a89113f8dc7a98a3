#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace isogrid {

/// Objects keep the order of their keys; of equal keys the last value wins, at the first place.
using OrderedJson = nlohmann::ordered_json;

/// Parses a whole text, at most 200 levels deep. `what` names the text in the error.
OrderedJson parse_json_text(std::string_view text, std::string_view what);

/// The text Python's json.dumps(value, ensure_ascii=False, indent=indent) writes: a space after
/// ':' and ',', floats as repr() has them. indent 0 = one line.
std::string json_text(const OrderedJson& value, int indent = 0);

/// The text Python's str() gives the same value: single quotes, True, False and None.
std::string python_text(const OrderedJson& value);

}  // namespace isogrid
