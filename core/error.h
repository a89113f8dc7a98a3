#pragma once
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

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

/// One part of a message, as an output stream writes it. Out of line where it can be: there are
/// hundreds of messages, each of which would be compiled with a stream of its own.
void append_part(std::string& text, std::string_view part);
void append_part(std::string& text, const char* part);
void append_part(std::string& text, char part);
void append_part(std::string& text, int64_t part);
void append_part(std::string& text, uint64_t part);
void append_part(std::string& text, double part);

inline void append_part(std::string& text, const std::string& part) {
  append_part(text, std::string_view(part));
}

template <typename Part>
void append_part(std::string& text, const Part& part) {
  if constexpr (std::is_convertible_v<const Part&, const char*>) {
    append_part(text, static_cast<const char*>(part));
  } else if constexpr (std::is_integral_v<Part> && sizeof(Part) > 1) {
    using Wide = std::conditional_t<std::is_signed_v<Part>, int64_t, uint64_t>;
    append_part(text, static_cast<Wide>(part));
  } else if constexpr (std::is_same_v<Part, float>) {
    append_part(text, static_cast<double>(part));
  } else {
    std::ostringstream stream;
    stream << part;
    append_part(text, std::string_view(stream.str()));
  }
}

template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::string text;
  (append_part(text, parts), ...);
  return text;
}

[[noreturn]] void throw_error(ExitCode code, const std::string& message);

template <typename... Parts>
[[noreturn]] void fail(ExitCode code, const Parts&... parts) {
  throw_error(code, concat(parts...));
}

}  // namespace isogrid
