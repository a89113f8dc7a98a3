#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <thread>

#include "core/error.h"
#include "data/tokenizer/tokenize_lines.h"
#include "trainer/commands/commands.h"
#include "trainer/open_model.h"

namespace isogrid {
namespace {

// Waits for the first bytes, then takes what is there without waiting.
size_t read_stdin(char* to, size_t most) {
  size_t got = 0;
  while (got < most) {
    pollfd waiting{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (got > 0 && ::poll(&waiting, 1, /*timeout=*/0) <= 0) break;
    const ssize_t count = ::read(STDIN_FILENO, to + got, most - got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(ExitCode::io, "stdin: cannot be read: ", std::strerror(errno));
    if (count == 0) break;
    got += static_cast<size_t>(count);
  }
  return got;
}

}  // namespace

int run_tokenize(const Invocation& invocation) {
  const Tokenizer tokenizer = Tokenizer::load(model_folder_path(invocation.config));
  const int64_t wanted = invocation.config.run.threads;
  TokenizeLines lines;
  lines.decode = invocation.options.decode;
  lines.threads = wanted > 0 ? static_cast<unsigned>(wanted)
                             : std::clamp(std::thread::hardware_concurrency(), 1u, 16u);
  std::ios::sync_with_stdio(false);
  lines.run(tokenizer, read_stdin, std::cout);
  return 0;
}

}  // namespace isogrid
