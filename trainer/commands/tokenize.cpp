#include <algorithm>
#include <iostream>
#include <thread>

#include "data/tokenizer/tokenize_lines.h"
#include "trainer/commands/commands.h"
#include "trainer/open_model.h"

namespace isogrid {

int run_tokenize(const Invocation& invocation) {
  const Tokenizer tokenizer = Tokenizer::load(model_folder_path(invocation.config));
  const int64_t wanted = invocation.config.run.threads;
  TokenizeLines lines;
  lines.decode = invocation.options.decode;
  lines.threads = wanted > 0 ? static_cast<unsigned>(wanted)
                             : std::clamp(std::thread::hardware_concurrency(), 1u, 16u);
  std::ios::sync_with_stdio(false);
  lines.run(tokenizer, std::cin, std::cout);
  return 0;
}

}  // namespace isogrid
