#pragma once
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "trainer/records/step_record.h"

namespace isogrid {

struct TableRow {
  std::string label, value;
};

/// What a person sees of a run: a table at its start, then one line drawn over itself with a bar,
/// or plain lines where nobody watches. Messages of the log and of note() stand above the bar.
/// At most one lives at a time. It leaves signals and the cursor alone: stopping it anywhere is
/// safe.
class TrainingDisplay {
 public:
  explicit TrainingDisplay(std::FILE* stream = stderr);
  ~TrainingDisplay();
  TrainingDisplay(const TrainingDisplay&) = delete;
  TrainingDisplay& operator=(const TrainingDisplay&) = delete;

  void table(const std::string& title, const std::vector<TableRow>& rows);
  /// `steps_done` by earlier attempts: what is left is told from this one's pace.
  void begin(int64_t steps_done) { first_step_ = steps_done; }
  /// Every step; away from a terminal a line comes for logged steps and at least once a minute.
  void step(const StepRecord& record, bool logged);
  void evaluation(const EvalRecord& record);
  void note(const std::string& line);
  /// Takes the bar away. The next step() would bring it back.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::FILE* stream_;
  bool live_;
  int64_t first_step_ = 0;
  bool drawn_ = false;
  Clock::time_point last_ = {};
};

/// The parts a line is composed of, without colour, for a width. Exposed for tests.
std::string start_table(std::FILE* stream, const std::string& title,
                        const std::vector<TableRow>& rows, size_t width);
std::string plain_step(const StepRecord& record, double seconds_left);
std::string progress_bar(std::FILE* stream, const StepRecord& record, double seconds_left,
                         size_t width, bool unicode);

}  // namespace isogrid
