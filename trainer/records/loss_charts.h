#pragma once
#include <string>
#include <vector>

#include "trainer/records/chart.h"
#include "trainer/records/log_rows.h"

namespace isogrid {

/// Training loss as measured and smoothed, and the evaluations.
Chart loss_chart(const std::vector<LogRow>& rows, const std::string& title);

/// The quantities beside the loss; only those with something to show.
std::vector<Chart> other_charts(const std::vector<LogRow>& rows);

struct NamedLog {
  std::string name;
  std::vector<LogRow> rows;
};
/// The losses of several runs over each other.
Chart overlay_chart(const std::vector<NamedLog>& logs);

}  // namespace isogrid
