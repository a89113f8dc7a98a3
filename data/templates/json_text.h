#pragma once
#include <string>

#include "core/json_fwd.h"

namespace isogrid {

/// The text Python's json.dumps(value, ensure_ascii=False, indent=indent) writes: a space after
/// ':' and ',', floats as repr() has them. indent 0 = one line.
std::string json_text(const Json& value, int indent = 0);

/// The text Python's str() gives the same value: single quotes, True, False and None.
std::string python_text(const Json& value);

}  // namespace isogrid
