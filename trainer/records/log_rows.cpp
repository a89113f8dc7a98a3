#include "trainer/records/log_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <system_error>

#include "core/error.h"
#include "core/hash.h"
#include "core/json.h"

namespace isogrid {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double percentage_of(int64_t step, int64_t total) {
  if (total <= 0) return 100;
  return std::round(10000.0 * static_cast<double>(step) / static_cast<double>(total)) / 100.0;
}

uint64_t from_hex(const std::string& text, const JsonFields& fields, const char* key) {
  uint64_t value = 0;
  const auto [end, failed] =
      std::from_chars(text.data(), text.data() + text.size(), value, /*base=*/16);
  if (failed != std::errc() || end != text.data() + text.size())
    fields.refuse(key, "hexadecimal digits");
  return value;
}

void add_times(Json& row, const RowTimes& times) {
  row["elapsed_time"] = clock_text(times.elapsed);
  row["remaining_time"] = clock_text(times.remaining);
  row["elapsed_seconds"] = std::round(times.elapsed * 1000) / 1000;
  row["attempt"] = times.attempt;
}

std::string decimal(const char* format, double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

}  // namespace

uint64_t order_hash(std::span<const uint64_t> sample_ids) {
  const Sha256Digest digest = sha256(std::as_bytes(sample_ids));
  uint64_t hash = 0;
  for (size_t i = 0; i < 8; ++i) hash = hash << 8 | digest[i];
  return hash;
}

std::string clock_text(double seconds) {
  // A run cannot be promised to end in a finite time before its first step.
  if (!(seconds >= 0 && seconds < 1e11)) return "unknown";
  const auto whole = static_cast<long long>(seconds);
  const long long days = whole / 86400;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld", whole / 3600 % 24, whole / 60 % 60,
                whole % 60);
  if (days == 0) return text.data();
  return concat(days, days == 1 ? " day, " : " days, ", text.data());
}

std::string hex_text(uint64_t value, int digits) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%0*llx", digits, static_cast<unsigned long long>(value));
  return text.data();
}

Json row_json(const StepRecord& record, const RowTimes& times) {
  // What is not finite becomes null: JSON has no NaN. The bits still tell.
  Json row = {{"current_steps", record.step},
              {"total_steps", record.total_steps},
              {"loss", record.loss},
              {"loss_bits", hex_text(std::bit_cast<uint32_t>(record.loss_float32), 8)},
              {"grad_norm", record.grad_norm},
              {"lr", record.learning_rate},
              {"epoch", record.epoch},
              {"percentage", percentage_of(record.step, record.total_steps)}};
  add_times(row, times);
  row["tokens"] = record.tokens;
  row["tokens_per_second"] = std::round(record.tokens_per_second * 10) / 10;
  if (record.share_of_roof) row["share_of_roof"] = *record.share_of_roof;
  if (record.loss_scale) row["loss_scale"] = *record.loss_scale;
  if (record.skipped) row["skipped"] = true;
  row["order"] = hex_text(record.order_hash, 16);
  return row;
}

Json row_json(const EvalRecord& record, const RowTimes& times) {
  Json row = {{"current_steps", record.step},
              {"total_steps", record.total_steps},
              {"eval_loss", record.loss},
              {"eval_perplexity", record.perplexity},
              {"eval_tokens", record.tokens},
              {"eval_runtime", std::round(record.eval_seconds * 1000) / 1000},
              {"epoch", record.epoch},
              {"percentage", percentage_of(record.step, record.total_steps)}};
  if (record.label_loss) {
    row["eval_kd_loss"] = record.loss;
    row["eval_label_loss"] = *record.label_loss;
  }
  if (record.agreement) row["eval_top1_agreement"] = *record.agreement;
  add_times(row, times);
  return row;
}

LogRow read_row(std::string_view line, const std::string& name) {
  const Json object = parse_json(line, name);
  if (!object.is_object()) fail(ExitCode::refused_input, name, ": a row is a JSON object");
  const JsonFields fields(object, name);
  LogRow row;
  row.is_eval = object.contains("eval_loss");
  if (!row.is_eval && !object.contains("loss"))
    fail(ExitCode::refused_input, name, ": a row has a loss or an eval_loss");
  row.step = fields.integer("current_steps", 0);
  row.total_steps = fields.integer_or("total_steps", 0);
  row.loss = fields.number_or(row.is_eval ? "eval_loss" : "loss", kNone);
  row.perplexity = fields.number_or("eval_perplexity", kNone);
  row.grad_norm = fields.number_or("grad_norm", kNone);
  row.learning_rate = fields.number_or("lr", kNone);
  row.epoch = fields.number_or("epoch", kNone);
  row.tokens = fields.integer_or("tokens", 0);
  row.tokens_per_second = fields.number_or("tokens_per_second", kNone);
  row.elapsed = fields.number_or("elapsed_seconds", kNone);
  row.attempt = fields.integer_or("attempt", 0);
  row.has_bits = fields.has("loss_bits");
  if (row.has_bits)
    row.loss_bits =
        static_cast<uint32_t>(from_hex(fields.string("loss_bits"), fields, "loss_bits"));
  if (fields.has("order")) row.order_hash = from_hex(fields.string("order"), fields, "order");
  return row;
}

std::string csv_line(const LogRow& row) {
  const std::string loss = decimal("%.9g", row.loss);
  const std::string rate = row.is_eval ? "" : decimal("%.10g", row.learning_rate);
  return concat(row.step, ",", row.is_eval ? "" : loss, ",", row.is_eval ? loss : "", ",", rate,
                ",", decimal("%.3f", row.elapsed), "\n");
}

}  // namespace isogrid
