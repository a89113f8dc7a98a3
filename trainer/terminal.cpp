#include "trainer/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "core/format.h"

namespace isogrid {
namespace {

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

std::string_view escape_of(Ink ink) {
  switch (ink) {
    case Ink::plain:
      return "";
    case Ink::bold:
      return "\033[1m";
    case Ink::dim:
      return "\033[2m";
    case Ink::red:
      return "\033[31m";
    case Ink::green:
      return "\033[32m";
    case Ink::yellow:
      return "\033[33m";
    case Ink::blue:
      return "\033[34m";
    case Ink::cyan:
      return "\033[36m";
  }
  return "";
}

/// "12", "-3.5e-4", "1.2 GiB", "85 %": a number, perhaps with a unit of a few letters.
bool is_quantity(std::string_view cell) {
  const size_t end = cell.find_first_not_of("0123456789.,+-eE");
  if (end == 0 || cell.empty() || cell.find_first_of("0123456789") >= end) return false;
  if (end == std::string_view::npos) return true;
  return cell[end] == '%' || (cell[end] == ' ' && cell.size() - end <= 9);
}

}  // namespace

bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

int terminal_width(std::FILE* stream) {
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const int columns = std::atoi(std::string(environment("COLUMNS")).c_str());
  return columns > 0 && columns < 10'000 ? columns : 80;
}

std::string inked(std::FILE* stream, Ink ink, std::string_view text) {
  const bool colours = ink != Ink::plain && is_terminal(stream) &&
                       environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  return colours ? concat(escape_of(ink), text, "\033[0m") : std::string(text);
}

size_t columns_of(std::string_view text) {
  size_t columns = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (size_t at = 0; at < text.size();) {
    utf8proc_int32_t code = 0;
    const auto length =
        utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code);
    columns += length > 0 ? static_cast<size_t>(utf8proc_charwidth(code)) : 1;
    at += length > 0 ? static_cast<size_t>(length) : 1;
  }
  return columns;
}

std::string Table::text() const {
  const size_t columns = rows_.front().size();
  std::vector<size_t> widths(columns, 0);
  std::vector<bool> right(columns, rows_.size() > 1);
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (size_t c = 0; c < std::min(columns, rows_[r].size()); ++c) {
      widths[c] = std::max(widths[c], columns_of(rows_[r][c]));
      if (r > 0 && !rows_[r][c].empty() && !is_quantity(rows_[r][c])) right[c] = false;
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows_) {
    std::string line;
    for (size_t c = 0; c < std::min(columns, row.size()); ++c) {
      const std::string blanks(widths[c] - columns_of(row[c]), ' ');
      line += (c > 0 ? "  " : "") + (right[c] ? blanks + row[c] : row[c] + blanks);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

ProgressLine::ProgressLine(std::string what, int64_t total, std::FILE* stream)
    : what_(std::move(what)),
      total_(total),
      stream_(stream),
      live_(is_terminal(stream)),
      pause_(live_ ? 100 : 10'000) {}

ProgressLine::~ProgressLine() {
  if (live_ && drawn_ != Clock::time_point()) std::fputs("\r\033[K", stream_);
  std::fflush(stream_);
}

void ProgressLine::show(int64_t done) {
  const Clock::time_point now = Clock::now();
  // A terminal is drawn to at once, a file only when the work turns out to be long.
  if (now - std::max(drawn_, live_ ? drawn_ : start_) < pause_) return;
  drawn_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double share =
      total_ > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0)
                 : 0.0;
  std::string line = concat(what_, " ", done, "/", total_);
  if (share > 0) line += concat(", ", human_seconds(seconds / share - seconds), " left");
  if (!live_) {
    std::fputs((line + "\n").c_str(), stream_);
    return;
  }
  const auto room =
      std::clamp<int>(terminal_width(stream_) - static_cast<int>(line.size()) - 4, 0, 30);
  const auto filled = static_cast<size_t>(share * room);
  std::string bar(filled, '=');
  bar.resize(static_cast<size_t>(room), ' ');
  std::fputs(concat("\r\033[K", room > 4 ? concat("[", bar, "] ") : std::string(), line).c_str(),
             stream_);
  std::fflush(stream_);
}

}  // namespace isogrid
