#include "core/error.h"

#include <cstdio>

namespace isogrid {

void append_part(std::string& text, std::string_view part) { text += part; }
void append_part(std::string& text, const char* part) { text += part; }
void append_part(std::string& text, char part) { text += part; }
void append_part(std::string& text, int64_t part) { text += std::to_string(part); }
void append_part(std::string& text, uint64_t part) { text += std::to_string(part); }

void append_part(std::string& text, double part) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", part);
  text += digits;
}

void throw_error(ExitCode code, const std::string& message) { throw Error(code, message); }

}  // namespace isogrid
