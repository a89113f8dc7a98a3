#pragma once
#include <functional>
#include <string>
#include <vector>

#include "trainer/commands/commands.h"
#include "trainer/open_model.h"

namespace isogrid {

/// One line of the comparison.
struct Measured {
  std::string name;  // "float", "rounded afterwards", "trained"
  double loss = 0;
  int64_t tokens = 0;
};
using MeasureModel = std::function<Measured(const CausalLm&)>;

/// The model of the config beside what quantisation makes of it: as it is, rounded to qat_target
/// afterwards, and, where output_dir holds the result of a run, as that run trained it. `plain` is
/// the first, measured already.
std::vector<Measured> compare_quantised(const RunConfig& config, const Measured& plain,
                                        const MeasureModel& measure);

/// As a table; losses relative to that of the first.
std::string comparison_table(const std::vector<Measured>& rows);
Json comparison_json(const std::vector<Measured>& rows);

}  // namespace isogrid
