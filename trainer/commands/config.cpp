#include <cstdio>

#include "configs/reference.h"
#include "trainer/commands/commands.h"

namespace isogrid {

int run_config(const Invocation& invocation) {
  const std::string text =
      invocation.options.markdown ? config_reference() : config_as_yaml(invocation.config);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return 0;
}

}  // namespace isogrid
