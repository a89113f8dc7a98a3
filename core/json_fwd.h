#pragma once
#include <nlohmann/json_fwd.hpp>

namespace isogrid {

/// Objects keep the order of the file, so that what is written back looks like what was read.
using Json = nlohmann::ordered_json;

}  // namespace isogrid
