#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "core/io_writer.h"
#include "core/json_fwd.h"
#include "trainer/records/event_file.h"
#include "trainer/records/log_rows.h"
#include "trainer/records/step_record.h"

namespace isogrid {

struct RunLogSettings {
  std::string output_dir = {};       // there, and locked by the caller
  std::string tensorboard_dir = {};  // empty: output_dir/runs
  int64_t resume_step = 0;           // steps that are done
  int64_t attempt = 0;               // as the run's folder counts it; 0: told from the log
};

/// trainer_log.jsonl, training_log.csv, events.jsonl and TensorBoard's event files of one run.
///
/// Opening it cuts the log to the step the run goes on from: rows of later steps, which will be
/// computed again, leave the file and are kept in memory; a step that comes out with other bits
/// than the first time is an event and a warning. A torn last line goes too. A row is with the
/// kernel when step() returns, so the death of the process loses none. Before a checkpoint commits,
/// call make_durable(): then the rows up to it survive the machine as well. Evaluate and log before
/// you save.
///
/// One writer: rank 0. Failures to write are exit code 74; a call that failed is not repeated, for
/// what it had to say goes out first with the next one that succeeds.
class RunLog {
 public:
  explicit RunLog(const RunLogSettings& settings, IoCalls& io = IoCalls::system());

  void step(const StepRecord& record);
  /// The final evaluation may repeat the last one: the row is not written twice.
  void evaluation(const EvalRecord& record);
  /// A line of events.jsonl: {"event": kind, "attempt", "step", "time", ...details}.
  void event(std::string_view kind, int64_t step, const Json& details);
  void make_durable();

  int64_t attempt() const { return attempt_; }  // 1 is the first start in this folder
  int64_t repeated_steps_that_differ() const { return differing_; }

 private:
  struct History;
  static History open_history(const RunLogSettings& settings, IoCalls& io);
  RunLog(const RunLogSettings& settings, IoCalls& io, History history);

  RowTimes times(int64_t step, int64_t total_steps, double seconds) const;
  LogRow put_row(const Json& row);
  void compare(const LogRow& again);
  void put_event(std::string_view kind, int64_t step, const Json& details);
  void flush();

  int64_t resume_step_;
  int64_t attempt_;
  double elapsed_before_;
  int64_t last_step_, last_eval_;
  std::map<int64_t, LogRow> earlier_;  // rows of steps that are computed again
  int64_t differing_ = 0;
  OutputDirectory directory_;
  AppendFile rows_, csv_, events_;
  EventFile tensorboard_;
};

}  // namespace isogrid
