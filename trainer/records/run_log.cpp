#include "trainer/records/run_log.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/io.h"
#include "core/json.h"
#include "core/log.h"

namespace isogrid {
namespace {

std::string path_below(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();
}

/// Calls `line(text)` for every line that ends in a newline; returns where the torn rest begins.
template <typename Line>
size_t for_each_line(std::string_view text, Line line) {
  size_t start = 0;
  for (size_t end; (end = text.find('\n', start)) != std::string_view::npos; start = end + 1)
    line(text.substr(start, end - start));
  return start;
}

std::optional<LogRow> readable_row(std::string_view line, const std::string& name) {
  try {
    return read_row(line, name);
  } catch (const Error&) {
    return std::nullopt;  // only what a crash or a hand left there
  }
}

int64_t unix_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

/// Drops a torn last line; returns the number of the attempt that begins.
int64_t mend_events(const std::string& path, IoCalls& io) {
  if (!std::filesystem::exists(path)) return 1;
  const MappedFile file(path);
  const std::string_view text = as_text(file.bytes());
  int64_t attempts = 0;
  const size_t whole = for_each_line(text, [&](std::string_view line) {
    try {
      const Json event = parse_json(line, path);
      if (event.is_object()) attempts = std::max(attempts, event.value("attempt", int64_t{0}));
    } catch (const std::exception&) {
      log_warning(concat(path, ": a line that is no event stays as it is"));
    }
  });
  if (whole < text.size()) {
    const std::string kept(text.substr(0, whole));
    write_file_durably(path, as_bytes(kept), io);
  }
  return attempts + 1;
}

}  // namespace

/// What the files of earlier attempts say, once they are cut to the step the run goes on from.
struct RunLog::History {
  int64_t attempt = 1;
  double elapsed = 0;
  int64_t last_step = 0, last_eval = -1;
  std::map<int64_t, LogRow> repeated;
};

RunLog::History RunLog::open_history(const RunLogSettings& settings, IoCalls& io) {
  History history;
  const std::string path = path_below(settings.output_dir, kTrainerLogName);
  history.attempt = mend_events(path_below(settings.output_dir, kEventsName), io);
  std::string kept, csv = kCsvHeader;
  int64_t dropped_bytes = 0;
  if (std::filesystem::exists(path)) {
    const MappedFile file(path);
    const std::string_view text = as_text(file.bytes());
    for_each_line(text, [&](std::string_view line) {
      const std::optional<LogRow> row = readable_row(line, path);
      if (!row) return;
      history.attempt = std::max(history.attempt, row->attempt + 1);
      if (row->step > settings.resume_step) {
        if (!row->is_eval) history.repeated[row->step] = *row;
        return;
      }
      kept.append(line).append("\n");
      csv += csv_line(*row);
      if (row->elapsed > history.elapsed) history.elapsed = row->elapsed;
      (row->is_eval ? history.last_eval : history.last_step) = row->step;
    });
    dropped_bytes = static_cast<int64_t>(text.size() - kept.size());
  }
  if (settings.attempt > 0) history.attempt = settings.attempt;
  if (dropped_bytes > 0) write_file_durably(path, as_bytes(kept), io);
  // Made anew from the rows, so the two never disagree.
  write_file_durably(path_below(settings.output_dir, kTrainingCsvName), as_bytes(csv), io);
  return history;
}

RunLog::RunLog(const RunLogSettings& settings, IoCalls& io)
    : RunLog(settings, io, open_history(settings, io)) {}

RunLog::RunLog(const RunLogSettings& settings, IoCalls& io, History history)
    : resume_step_(settings.resume_step),
      attempt_(history.attempt),
      elapsed_before_(history.elapsed),
      last_step_(history.last_step),
      last_eval_(history.last_eval),
      earlier_(std::move(history.repeated)),
      directory_(settings.output_dir, io),
      rows_(directory_, kTrainerLogName),
      csv_(directory_, kTrainingCsvName),
      events_(directory_, kEventsName),
      tensorboard_(settings.tensorboard_dir.empty() ? path_below(settings.output_dir, "runs")
                                                    : settings.tensorboard_dir,
                   settings.resume_step, io) {
  event("start", settings.resume_step, Json::object());
}

RowTimes RunLog::times(int64_t step, int64_t total_steps, double seconds) const {
  const auto done = static_cast<double>(step - resume_step_);
  const auto left = static_cast<double>(std::max<int64_t>(total_steps - step, 0));
  return {.elapsed = elapsed_before_ + seconds,
          .remaining = left == 0   ? 0
                       : done <= 0 ? HUGE_VAL
                                   : seconds / done * left,
          .attempt = attempt_};
}

LogRow RunLog::put_row(const Json& row) {
  const std::string line = row.dump();
  LogRow logged = read_row(line, kTrainerLogName);
  rows_.put(as_bytes(line + "\n"));
  csv_.put(as_bytes(csv_line(logged)));
  return logged;
}

void RunLog::step(const StepRecord& record) {
  const int64_t last = std::max(last_step_, resume_step_);
  if (record.step <= last)
    fail(ExitCode::internal, kTrainerLogName, ": step ", record.step, " after step ", last);
  last_step_ = record.step;
  const LogRow row =
      put_row(row_json(record, times(record.step, record.total_steps, record.seconds)));
  std::vector<Scalar> scalars = {{"train/loss", record.loss},
                                 {"train/grad_norm", record.grad_norm},
                                 {"train/learning_rate", record.learning_rate},
                                 {"train/epoch", record.epoch},
                                 {"train/tokens_per_second", record.tokens_per_second}};
  if (record.share_of_roof) scalars.push_back({"train/share_of_roof", *record.share_of_roof});
  if (record.loss_scale) scalars.push_back({"train/loss_scale", *record.loss_scale});
  tensorboard_.put(record.step, scalars);
  compare(row);
  flush();
}

void RunLog::evaluation(const EvalRecord& record) {
  if (record.step <= last_eval_) return;
  last_eval_ = record.step;
  put_row(row_json(record, times(record.step, record.total_steps, record.seconds)));
  tensorboard_.put(record.step,
                   {{"eval/loss", record.loss}, {"eval/perplexity", record.perplexity}});
  flush();
}

void RunLog::compare(const LogRow& again) {
  const auto found = earlier_.find(again.step);
  if (found == earlier_.end()) return;
  const LogRow before = found->second;
  earlier_.erase(found);
  Json differences = Json::object();
  const auto note = [&](const char* what, const auto& first, const auto& second) {
    differences[what] = {{"before", first}, {"now", second}};
  };
  if (!before.has_bits || before.loss_bits != again.loss_bits)
    note("loss_bits", hex_text(before.loss_bits, 8), hex_text(again.loss_bits, 8));
  if (before.order_hash != again.order_hash)
    note("order", hex_text(before.order_hash, 16), hex_text(again.order_hash, 16));
  const auto number = [&](const char* what, double first, double second) {
    if (std::bit_cast<uint64_t>(first) != std::bit_cast<uint64_t>(second))
      note(what, first, second);
  };
  number("grad_norm", before.grad_norm, again.grad_norm);
  number("lr", before.learning_rate, again.learning_rate);
  if (differences.empty()) return;
  if (differing_++ == 0) {
    std::string names;
    for (const auto& [name, values] : differences.items())
      names += (names.empty() ? "" : ", ") + name;
    log_warning(concat("step ", again.step, " was computed before, in attempt ", before.attempt,
                       ", and came out differently now (", names, "); this and further such steps ",
                       "are in ", kEventsName));
  }
  put_event("repeated_step_differs", again.step,
            {{"earlier_attempt", before.attempt}, {"differences", differences}});
}

void RunLog::put_event(std::string_view kind, int64_t step, const Json& details) {
  Json line = {{"event", kind}, {"attempt", attempt_}, {"step", step}, {"time", unix_time()}};
  line.update(details);
  events_.put(as_bytes(line.dump() + "\n"));
}

void RunLog::event(std::string_view kind, int64_t step, const Json& details) {
  put_event(kind, step, details);
  flush();
}

void RunLog::flush() {
  rows_.flush();
  csv_.flush();
  events_.flush();
  tensorboard_.flush();
}

void RunLog::make_durable() {
  rows_.sync();
  csv_.sync();
  events_.sync();
  tensorboard_.sync();
}

}  // namespace isogrid
