#include <charconv>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>

#include "core/error.h"
#include "core/io.h"
#include "trainer/records/log_rows.h"

namespace isogrid {
namespace {

constexpr double kEmpty = std::numeric_limits<double>::quiet_NaN();

/// Calls `use(line)` for each line, the last one with or without its newline.
template <typename Use>
void each_text_line(std::string_view text, Use use) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    use(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  for (size_t start = 0; start <= line.size();) {
    const size_t end = std::min(line.find(',', start), line.size());
    cells.push_back(line.substr(start, end - start));
    start = end + 1;
  }
  return cells;
}

/// NaN for what is empty or no number.
double number_in(std::string_view cell) {
  while (cell.starts_with(' ')) cell.remove_prefix(1);
  while (cell.ends_with(' ')) cell.remove_suffix(1);
  double value = 0;
  const auto [end, failed] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return failed == std::errc() && end == cell.data() + cell.size() ? value : kEmpty;
}

/// Columns by their names, so that files of other programs with more of them do as well.
class CsvRows {
 public:
  explicit CsvRows(std::string name) : name_(std::move(name)) {}

  void read(std::string_view line) {
    if (line.empty()) return;
    const std::vector<std::string_view> cells = cells_of(line);
    if (columns_.empty()) {
      for (size_t i = 0; i < cells.size(); ++i) columns_.emplace(cells[i], i);
      if (!columns_.contains("step") || !(loss_column() || columns_.contains("eval_loss")))
        fail(ExitCode::refused_input, name_, ":1: the columns are '", shown_text(line),
             "'; a training log has step and train_loss or eval_loss");
      return;
    }
    const auto cell = [&](const std::string& column) {
      const auto found = columns_.find(column);
      return found != columns_.end() && found->second < cells.size()
                 ? number_in(cells[found->second])
                 : kEmpty;
    };
    const double step = cell("step");
    if (!(step >= 0 && step < 1e15)) return;
    const auto add = [&](double loss, bool is_eval) {
      if (loss != loss) return;
      LogRow row{.is_eval = is_eval, .step = static_cast<int64_t>(step), .loss = loss};
      row.learning_rate = cell("lr");
      row.elapsed = cell("elapsed_sec");
      row.epoch = row.perplexity = row.grad_norm = row.tokens_per_second = kEmpty;
      rows_.push_back(row);
    };
    if (loss_column()) add(cell(*loss_column()), false);
    add(cell("eval_loss"), true);
  }
  std::vector<LogRow> take() { return std::move(rows_); }

 private:
  std::optional<std::string> loss_column() const {
    for (const char* name : {"train_loss", "loss"})
      if (columns_.contains(name)) return name;
    return std::nullopt;
  }

  std::string name_;
  std::map<std::string, size_t, std::less<>> columns_;
  std::vector<LogRow> rows_;
};

std::string log_file_of(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return path;
  for (const char* name : {kTrainerLogName, kTrainingCsvName}) {
    const std::filesystem::path file = std::filesystem::path(path) / name;
    if (std::filesystem::exists(file)) return file.string();
  }
  fail(ExitCode::missing_input, path, ": holds no ", kTrainerLogName, " and no ", kTrainingCsvName,
       "; name the folder of a run or such a file");
}

}  // namespace

std::vector<LogRow> read_training_log(const std::string& path) {
  const std::string file_name = log_file_of(path);
  const MappedFile file(file_name);
  const std::string_view text = as_text(file.bytes());
  std::vector<LogRow> rows;
  if (file_name.ends_with(".csv")) {
    CsvRows csv(file_name);
    each_text_line(text, [&](std::string_view line) { csv.read(line); });
    rows = csv.take();
  } else {
    each_text_line(text, [&](std::string_view line) {
      try {
        rows.push_back(read_row(line, file_name));
      } catch (const Error&) {
        // A line that is being written, or one of another program that holds no loss.
      }
    });
  }
  if (rows.empty())
    fail(ExitCode::refused_input, file_name, ": has no row with a loss; allowed are a ",
         kTrainerLogName, ", and a CSV with the columns step and train_loss");
  return rows;
}

}  // namespace isogrid
