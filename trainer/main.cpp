#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/phase.h"
#include "trainer/command_line.h"

namespace {

int report(const std::string& text, isogrid::ExitCode code) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", text.c_str());
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  using isogrid::ExitCode;
  try {
    const int code = isogrid::run_command_line(std::vector<std::string>(argv + 1, argv + argc));
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      return report("standard output: not everything could be written", ExitCode::io);
    return code;
  } catch (const isogrid::Error& error) {
    return report(error.what(), error.code());
  } catch (const isogrid::MemoryError& error) {
    return report(isogrid::out_of_memory_text(error.bytes()), ExitCode::memory);
  } catch (const std::bad_alloc&) {
    return report(isogrid::out_of_memory_text(0), ExitCode::memory);
  } catch (const std::exception& error) {
    const std::string text = error.what();  // LibTorch appends a stack trace
    uint64_t bytes = 0;
    if (isogrid::tells_of_memory(text, bytes))
      return report(isogrid::out_of_memory_text(bytes), ExitCode::memory);
    return report("internal error: " + text.substr(0, text.find('\n')), ExitCode::internal);
  }
}
