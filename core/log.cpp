#include "core/log.h"

#include <atomic>
#include <cstdio>

namespace isogrid {
namespace {

std::atomic<LogLevel> current_level{LogLevel::info};
std::atomic<void (*)()> before_message{nullptr};

void write_line(LogLevel level, const char* prefix, std::string_view message) {
  if (level < current_level.load()) return;
  if (void (*make_room)() = before_message.load()) make_room();
  std::fprintf(stderr, "%s%.*s\n", prefix, static_cast<int>(message.size()), message.data());
}

}  // namespace

void set_before_message(void (*make_room)()) { before_message = make_room; }
void set_log_level(LogLevel level) { current_level = level; }
LogLevel log_level() { return current_level; }
void log_debug(std::string_view message) { write_line(LogLevel::debug, "debug: ", message); }
void log_info(std::string_view message) { write_line(LogLevel::info, "", message); }
void log_warning(std::string_view message) { write_line(LogLevel::warning, "warning: ", message); }

}  // namespace isogrid
