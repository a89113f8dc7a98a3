#pragma once
#include <string>

#include "core/json_fwd.h"
#include "trainer/commands/commands.h"

namespace isogrid {

/// Does `trainer convert` make look-up-table layers here: --to v1, v2 or balanced, or settings that
/// name a form or bits?
bool converts_to_lut(const Invocation& invocation);

/// Reads the folder FROM, dense or of such layers, and writes the folder TO.
int convert_to_lut(const Invocation& invocation, const std::string& from, const std::string& to);

/// --eval: what the models in `before` and `after` lose on the rows of the config, and against the
/// teacher's cache where it names one.
Json conversion_losses(const Invocation& invocation, const std::string& before,
                       const std::string& after);
void print_losses(const Json& losses);

}  // namespace isogrid
