#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace isogrid {
namespace {

double share_of(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<int64_t>(1, whole));
}

double number_or(const Schedule& schedule, const char* name, double otherwise) {
  const auto found = schedule.numbers.find(name);
  return found == schedule.numbers.end() ? otherwise : found->second;
}

/// How far the part after the warm-up has come, 0 to 1.
double progress(const Schedule& s, int64_t step) {
  return share_of(step - s.warmup, s.total - s.warmup);
}

double half_wave(double cycles, double at) {
  return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * cycles * 2.0 * at)));
}

double linear(const Schedule& s, int64_t step) {
  return std::max(0.0, share_of(s.total - step, s.total - s.warmup));
}

double cosine(const Schedule& s, int64_t step) {
  return half_wave(number_or(s, "num_cycles", 0.5), progress(s, step));
}

double cosine_with_min(const Schedule& s, int64_t step) {
  double least = number_or(s, "min_lr_rate", 0.0);
  if (s.numbers.count("min_lr") > 0 && s.highest > 0)
    least = number_or(s, "min_lr", 0.0) / s.highest;
  const double wave = 0.5 * (1.0 + std::cos(std::numbers::pi * number_or(s, "num_cycles", 0.5) *
                                            2.0 * progress(s, step)));
  return std::max(0.0, wave * (1 - least) + least);
}

double constant(const Schedule&, int64_t) { return 1.0; }

double polynomial(const Schedule& s, int64_t step) {
  const double end = number_or(s, "lr_end", 1e-7);
  if (s.highest <= 0) return 0.0;
  if (step > s.total) return end / s.highest;
  const double left = 1 - progress(s, step);
  return ((s.highest - end) * std::pow(left, number_or(s, "power", 1.0)) + end) / s.highest;
}

double inverse_sqrt(const Schedule& s, int64_t step) {
  const double scale =
      number_or(s, "timescale", s.warmup > 0 ? static_cast<double>(s.warmup) : 10000.0);
  const double shift = scale - static_cast<double>(s.warmup);
  return 1.0 / std::sqrt((static_cast<double>(step) + shift) / scale);
}

/// A third of the steps after the warm-up at full rate, unless the lengths are given.
double warmup_stable_decay(const Schedule& s, int64_t step) {
  const int64_t rest = s.total - s.warmup;
  const auto stable =
      static_cast<int64_t>(number_or(s, "num_stable_steps", static_cast<double>(rest / 3)));
  const auto decay =
      static_cast<int64_t>(number_or(s, "num_decay_steps", static_cast<double>(rest - stable)));
  const int64_t into = step - s.warmup - stable;
  const double least = number_or(s, "min_lr_ratio", 0.0);
  if (into < 0) return 1.0;
  if (into >= decay) return least;
  const double wave = 0.5 * (1.0 + std::cos(std::numbers::pi * number_or(s, "num_cycles", 0.5) *
                                            2.0 * share_of(into, decay)));
  return std::max(0.0, wave * (1 - least) + least);
}

struct Shape {
  std::string_view name;
  double (*factor)(const Schedule&, int64_t step);  // after the warm-up
  bool warms_up;
  std::vector<std::string_view> numbers;
};

/// The one table of shapes. Formulas are those of transformers' get_scheduler.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> table{
      {"linear", linear, true, {}},
      {"cosine", cosine, true, {"num_cycles"}},
      {"cosine_with_min_lr", cosine_with_min, true, {"num_cycles", "min_lr", "min_lr_rate"}},
      {"constant", constant, false, {}},
      {"constant_with_warmup", constant, true, {}},
      {"polynomial", polynomial, true, {"lr_end", "power"}},
      {"inverse_sqrt", inverse_sqrt, true, {"timescale"}},
      {"warmup_stable_decay",
       warmup_stable_decay,
       true,
       {"num_stable_steps", "num_decay_steps", "min_lr_ratio", "num_cycles"}},
  };
  return table;
}

const Shape& shape_of(const std::string& name) {
  for (const Shape& shape : shapes())
    if (shape.name == name) return shape;
  fail(ExitCode::configuration, "lr_scheduler_type: ", name, ": there is no such shape");
}

void check_numbers(const Schedule& schedule, const Shape& shape) {
  for (const auto& [name, value] : schedule.numbers) {
    if (std::find(shape.numbers.begin(), shape.numbers.end(), name) != shape.numbers.end())
      continue;
    std::string allowed;
    for (const std::string_view each : shape.numbers)
      allowed += concat(allowed.empty() ? "" : ", ", each);
    fail(ExitCode::configuration, "lr_scheduler_kwargs: ", name, ": ", schedule.shape, " takes ",
         allowed.empty() ? "none" : allowed);
  }
}

}  // namespace

Schedule make_schedule(const OptimizerConfig& config, int64_t total_steps) {
  Schedule schedule;
  schedule.shape = config.lr_scheduler_type;
  schedule.highest = config.learning_rate;
  schedule.total = total_steps;
  schedule.numbers = config.lr_scheduler_kwargs;
  const Shape& shape = shape_of(schedule.shape);
  check_numbers(schedule, shape);
  const double warmup = config.warmup_steps < 1
                            ? std::ceil(static_cast<double>(total_steps) * config.warmup_steps)
                            : config.warmup_steps;
  schedule.warmup = shape.warms_up ? static_cast<int64_t>(warmup) : 0;
  return schedule;
}

double learning_rate(const Schedule& schedule, int64_t step) {
  if (step < schedule.warmup) {
    const double least = number_or(schedule, "min_lr_ratio", 0.0);
    return schedule.highest * (share_of(step, schedule.warmup) * (1 - least) + least);
  }
  return schedule.highest * shape_of(schedule.shape).factor(schedule, step);
}

}  // namespace isogrid
