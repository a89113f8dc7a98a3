#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

/// Whether a person sees this stream as it comes.
bool is_terminal(std::FILE* stream);

/// Columns of the terminal behind `stream`, else of COLUMNS, else 80.
int terminal_width(std::FILE* stream);

enum class Ink { plain, bold, dim, red, green, yellow, blue, cyan };

/// `text` in this ink where `stream` is a terminal that shows colours and NO_COLOR is not set;
/// elsewhere the text alone.
std::string inked(std::FILE* stream, Ink ink, std::string_view text);

/// Columns a text takes: characters of UTF-8, wide ones twice, combining ones not at all.
size_t columns_of(std::string_view text);

/// Rows under a header, each column as wide as its widest cell. Columns that hold only numbers
/// (with their units) are aligned to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Two blanks between columns, a newline at the end of each row, no trailing blanks.
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// One line on stderr that follows long work: a bar with what is left on a terminal, drawn at most
/// ten times a second; elsewhere a plain line every ten seconds.
class ProgressLine {
 public:
  ProgressLine(std::string what, int64_t total, std::FILE* stream = stderr);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(int64_t done);

 private:
  using Clock = std::chrono::steady_clock;
  std::string what_;
  int64_t total_;
  std::FILE* stream_;
  bool live_;
  std::chrono::milliseconds pause_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_;
};

}  // namespace isogrid
