#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "configs/optimizer_config.h"

namespace isogrid {

/// The learning rate of every step, a pure function of its number.
struct Schedule {
  std::string shape = "linear";
  double highest = 0;
  int64_t warmup = 0;                          // steps of rising rate
  int64_t total = 1;                           // steps of the run
  std::map<std::string, double> numbers = {};  // the shape's own settings
};

/// `total_steps` is known. Numbers that the shape does not have are refused (78).
Schedule make_schedule(const OptimizerConfig& config, int64_t total_steps);

/// The rate that step `step` uses, counted from 0.
double learning_rate(const Schedule& schedule, int64_t step);

}  // namespace isogrid
