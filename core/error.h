#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace isogrid {

/// What the process tells the shell. The numbers follow sysexits where it has one.
enum class ExitCode : int {
  success = 0,
  usage = 64,          // the command line itself
  refused_input = 65,  // a malformed or hostile file
  missing_input = 66,
  internal = 70,
  memory = 71,
  locked = 73,  // output directory in use, or not ours
  io = 74,
  stopped_early = 75,  // checkpoint committed: start me again
  peer_lost = 76,
  configuration = 78,
  numeric = 80,  // a non-finite value was kept from the weights
};

/// Something the user can mend. The text names what was given, what came, and what is allowed.
/// Everything else (LibTorch's exceptions, bad_alloc) passes through to main.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return std::move(text).str();
}

template <typename... Parts>
[[noreturn]] void fail(ExitCode code, const Parts&... parts) {
  throw Error(code, concat(parts...));
}

}  // namespace isogrid
