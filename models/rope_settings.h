#pragma once
#include "core/json.h"
#include "models/decoder_config.h"

namespace isogrid {

/// Reads rope_theta + rope_scaling, or rope_parameters, whichever spelling the file has.
RopeSettings read_rope_settings(const JsonFields& config, int64_t max_position,
                                double default_theta);

}  // namespace isogrid
