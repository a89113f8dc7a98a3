#pragma once
#include <string>

#include "core/json_fwd.h"
#include "models/decoder_config.h"

namespace isogrid {

/// Reads config.json of any architecture in the table of registry.cpp. An architecture we do not
/// have, a field that changes the maths in a way we do not have, or a shape that does not fit
/// together is refused by name (65). `where` names the file in messages.
DecoderConfig read_decoder_config(const Json& config, const std::string& where);

}  // namespace isogrid
