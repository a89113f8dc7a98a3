#pragma once
#include <string_view>

namespace isogrid {

enum class LogLevel { debug, info, warning, error };

/// Messages for people go to stderr; stdout belongs to what a command was asked for.
void set_log_level(LogLevel level);
LogLevel log_level();
void log_debug(std::string_view message);
void log_info(std::string_view message);
void log_warning(std::string_view message);

/// Called before each message, so that a line that is drawn over itself can make room; or null.
void set_before_message(void (*make_room)());

}  // namespace isogrid
