#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json_fwd.h"
#include "trainer/records/step_record.h"

namespace isogrid {

inline constexpr const char* kTrainerLogName = "trainer_log.jsonl";
inline constexpr const char* kTrainingCsvName = "training_log.csv";
inline constexpr const char* kEventsName = "events.jsonl";
inline constexpr const char* kCsvHeader = "step,train_loss,eval_loss,lr,elapsed_sec\n";

/// One row of a training log, read back. What a row does not have is NaN or 0.
struct LogRow {
  bool is_eval = false;
  int64_t step = 0, total_steps = 0;
  double epoch = 0;
  double loss = 0;  // of the evaluation in a row of one
  double perplexity = 0, grad_norm = 0, learning_rate = 0;
  double tokens_per_second = 0;
  int64_t tokens = 0;
  double elapsed = 0;  // seconds of training, over all attempts
  int64_t attempt = 0;
  bool has_bits = false;  // a CSV has none
  uint32_t loss_bits = 0;
  uint64_t order_hash = 0;
};

/// When a row was logged, beside what the loop knows.
struct RowTimes {
  double elapsed = 0;    // seconds over all attempts
  double remaining = 0;  // seconds to the last step, as far as can be told
  int64_t attempt = 1;
};

/// The object of a line of trainer_log.jsonl, and what read_row makes of it.
Json row_json(const StepRecord& record, const RowTimes& times);
Json row_json(const EvalRecord& record, const RowTimes& times);
/// Refuses (65) what is no such object; `name` is for the message.
LogRow read_row(std::string_view line, const std::string& name);

/// One line of training_log.csv. Rows of an evaluation leave train_loss and lr empty.
std::string csv_line(const LogRow& row);

/// All rows of a training log: a trainer_log.jsonl (torn or damaged lines are left out), a CSV with
/// such columns, or the folder of a run. Missing: 66; without a single row: 65.
std::vector<LogRow> read_training_log(const std::string& path);

/// "0:01:05", "1 day, 2:03:04": as the logs of this kind have it.
std::string clock_text(double seconds);
std::string hex_text(uint64_t value, int digits);

}  // namespace isogrid
