#pragma once
#include <string_view>
#include <vector>

#include "configs/run_config.h"

namespace isogrid {

/// A key of another stack. A hint says how that stack should work and changes no result: it is
/// accepted and reported. Any other key would change the run: a command that reads its group
/// refuses it, unless its value says "off".
struct ForeignKey {
  std::string_view name;
  bool is_hint;
  Group group;
  std::string_view why;  // a hint: why it is not needed here; else: why it cannot be done
};

const std::vector<ForeignKey>& foreign_keys();
const ForeignKey* find_foreign(std::string_view name);  // null: not one of them

}  // namespace isogrid
