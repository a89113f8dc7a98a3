#include "trainer/records/training_display.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "core/format.h"
#include "core/log.h"
#include "trainer/terminal.h"

namespace isogrid {
namespace {

constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kSilence{60};
constexpr size_t kMostBar = 40, kLeastBar = 8;

TrainingDisplay* current_display = nullptr;

void clear_current_display() {
  if (current_display != nullptr) current_display->clear();
}

std::string printed(const char* format, double value) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

/// Equal widths keep a line that is drawn over itself from trembling.
std::string padded_left(const std::string& text, size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

std::string loss_text(double loss) {
  return printed(std::abs(loss) < 1000 ? "%.4f" : "%.4g", loss);
}

std::string speed_text(const StepRecord& record) {
  const double measured = record.tokens_per_second;
  const double speed = std::isfinite(measured) ? std::clamp(measured, 0.0, 1e15) : 0;
  return human_count(static_cast<uint64_t>(std::llround(speed))) + " tok/s";
}

/// Does this terminal show more than ASCII?
bool shows_unicode() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    std::string locale = value;
    std::transform(locale.begin(), locale.end(), locale.begin(), [](unsigned char c) {
      return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    return locale.find("utf-8") != std::string::npos || locale.find("utf8") != std::string::npos;
  }
  return false;
}

/// A part of the line; where there is no room, the part of the highest rank goes first.
struct Piece {
  std::string text;
  Ink ink;
  int rank;
};

std::vector<Piece> pieces_of(const StepRecord& record, double seconds_left) {
  const double share = record.total_steps > 0 ? static_cast<double>(record.step) /
                                                    static_cast<double>(record.total_steps)
                                              : 0;
  const std::string total = concat(record.total_steps);
  std::vector<Piece> pieces = {
      {concat("step ", padded_left(concat(record.step), total.size()), "/", total), Ink::bold, 1},
      {printed("%3.0f %%", std::floor(100 * share)), Ink::plain, 5},
      {"loss " + loss_text(record.loss), Ink::bold, 0},
      {"lr " + printed("%.2e", record.learning_rate), Ink::plain, 6},
      {"grad " + printed("%.3g", record.grad_norm), Ink::plain, 4},
      {speed_text(record), Ink::plain, 3},
  };
  if (record.share_of_roof)
    pieces.push_back({printed("%.0f %% of roof", 100 * *record.share_of_roof), Ink::plain, 7});
  if (std::isfinite(seconds_left))
    pieces.push_back({padded_left(human_seconds(seconds_left) + " left", 15), Ink::plain, 2});
  return pieces;
}

size_t width_of(const std::vector<Piece>& pieces) {
  size_t width = 0;
  for (const Piece& piece : pieces) width += columns_of(piece.text) + 2;
  return width - 2;
}

std::string repeated(std::string_view text, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) all += text;
  return all;
}

/// The words of `value` in lines of at most `width` columns, the later ones behind `indent` blanks.
std::string wrapped(std::string_view value, size_t width, size_t indent) {
  std::string text, line;
  for (size_t start = 0; start < value.size();) {
    const size_t end = std::min(value.find(' ', start), value.size());
    const std::string_view word = value.substr(start, end - start);
    start = end + 1;
    if (!line.empty() && columns_of(line) + 1 + columns_of(word) > width) {
      text += line + "\n" + std::string(indent, ' ');
      line.clear();
    }
    line.append(line.empty() ? "" : " ").append(word);
  }
  return text + line;
}

}  // namespace

std::string start_table(std::FILE* stream, const std::string& title,
                        const std::vector<TableRow>& rows, size_t width) {
  size_t labels = 0;
  for (const TableRow& row : rows) labels = std::max(labels, columns_of(row.label));
  const size_t indent = labels + 4;
  const size_t room = std::max<size_t>(width > indent ? width - indent : 0, 24);
  std::string text = inked(stream, Ink::bold, title) + "\n";
  for (const TableRow& row : rows) {
    const std::string blanks(labels - columns_of(row.label) + 2, ' ');
    text += "  " + inked(stream, Ink::dim, row.label) + blanks + wrapped(row.value, room, indent) +
            "\n";
  }
  return text;
}

std::string plain_step(const StepRecord& record, double seconds_left) {
  std::string text;
  for (const Piece& piece : pieces_of(record, seconds_left))
    text += (text.empty() ? "" : "  ") + piece.text;
  if (record.skipped) text += "  skipped";
  return text;
}

std::string progress_bar(std::FILE* stream, const StepRecord& record, double seconds_left,
                         size_t width, bool unicode) {
  std::vector<Piece> pieces = pieces_of(record, seconds_left);
  while (pieces.size() > 1 && width_of(pieces) > width)
    pieces.erase(std::max_element(
        pieces.begin(), pieces.end(),
        [](const Piece& one, const Piece& other) { return one.rank < other.rank; }));
  const size_t taken = width_of(pieces);
  const size_t room = width > taken + 2 ? std::min(width - taken - 2, kMostBar) : 0;
  std::string line;
  for (size_t i = 0; i < pieces.size(); ++i) {
    line += (i > 0 ? "  " : "") + inked(stream, pieces[i].ink, pieces[i].text);
    if (i > 0 || room < kLeastBar || record.total_steps <= 0) continue;
    const double share = static_cast<double>(record.step) / static_cast<double>(record.total_steps);
    const auto filled =
        static_cast<size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(room));
    line += "  " + inked(stream, Ink::cyan, repeated(unicode ? "━" : "=", filled)) +
            inked(stream, Ink::dim, repeated(unicode ? "─" : "-", room - filled));
  }
  return taken <= width ? line : line.substr(0, width);
}

TrainingDisplay::TrainingDisplay(std::FILE* stream) : stream_(stream), live_(is_terminal(stream)) {
  current_display = this;
  set_before_message(clear_current_display);
}

TrainingDisplay::~TrainingDisplay() {
  clear();
  set_before_message(nullptr);
  current_display = nullptr;
}

void TrainingDisplay::table(const std::string& title, const std::vector<TableRow>& rows) {
  note(start_table(stream_, title, rows, static_cast<size_t>(terminal_width(stream_))));
}

void TrainingDisplay::step(const StepRecord& record, bool logged) {
  const Clock::time_point now = Clock::now();
  const bool last = record.step >= record.total_steps;
  if (!last && !(logged && !live_) && now - last_ < (live_ ? kRedraw : Clock::duration(kSilence)))
    return;
  last_ = now;
  const auto done = static_cast<double>(record.step - first_step_);
  const auto left = static_cast<double>(record.total_steps - record.step);
  const double seconds_left = done > 0 && left > 0 ? record.seconds / done * left : HUGE_VAL;
  if (!live_) {
    note(plain_step(record, seconds_left));
    return;
  }
  // The last column stays free: some terminals wrap as soon as it is written.
  const int columns = terminal_width(stream_) - 1;
  const std::string line = progress_bar(stream_, record, seconds_left,
                                        static_cast<size_t>(std::max(columns, 1)), shows_unicode());
  std::fputs(concat("\r\033[K", line).c_str(), stream_);
  std::fflush(stream_);
  drawn_ = true;
}

void TrainingDisplay::evaluation(const EvalRecord& record) {
  const std::string agreement =
      record.agreement ? concat(", ", printed("%.1f", 100 * *record.agreement), " % as the teacher")
                       : "";
  note(concat("step ", record.step, "/", record.total_steps,
              "  evaluation: ", record.label_loss ? "divergence " : "loss ", loss_text(record.loss),
              ", perplexity ", printed("%.4g", record.perplexity), agreement, " (",
              human_seconds(record.eval_seconds), ")"));
}

void TrainingDisplay::note(const std::string& line) {
  clear();
  std::fputs(line.c_str(), stream_);
  if (line.empty() || line.back() != '\n') std::fputc('\n', stream_);
  std::fflush(stream_);
}

void TrainingDisplay::clear() {
  if (!drawn_) return;
  drawn_ = false;
  std::fputs("\r\033[K", stream_);
  std::fflush(stream_);
  last_ = {};
}

}  // namespace isogrid
