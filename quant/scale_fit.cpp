#include "quant/scale_fit.h"

#include <vector>

namespace isogrid {
namespace {

/// Factors are n / kParts. Four bits like 0.7 to 1, two bits 0.3 to 0.6; a little beyond 1 serves
/// grids whose two ends lie differently far out.
constexpr int kParts = 32, kSmallest = 6, kLargest = 36;

/// The squared error of every block under the record as it is.
void block_errors(const Grid& grid, const float* row, int64_t columns, const std::byte* record,
                  std::vector<float>& decoded, std::vector<double>& errors) {
  grid.decode(record, columns, decoded.data());
  const auto width = columns / static_cast<int64_t>(errors.size());
  for (size_t block = 0; block < errors.size(); ++block) {
    const int64_t first = static_cast<int64_t>(block) * width;
    double sum = 0;
    for (int64_t c = first; c < first + width; ++c) {
      const double error = static_cast<double>(decoded[static_cast<size_t>(c)]) - row[c];
      sum += error * error;
    }
    errors[block] = sum;
  }
}

}  // namespace

void fit_scales(const Grid& grid, const float* row, int64_t columns, std::byte* record) {
  const auto count = static_cast<size_t>(grid.scales(columns));
  std::vector<float> start(count), best(count), tried(count);
  std::vector<float> decoded(static_cast<size_t>(columns));
  std::vector<double> least(count), errors(count);
  grid.read_scales(record, columns, start.data());
  block_errors(grid, row, columns, record, decoded, least);
  best = start;
  for (int part = kLargest; part >= kSmallest; --part) {
    for (size_t i = 0; i < count; ++i)
      tried[i] = start[i] * (static_cast<float>(part) / static_cast<float>(kParts));
    grid.write_scales(tried.data(), columns, record);
    grid.recode(row, columns, record);
    block_errors(grid, row, columns, record, decoded, errors);
    for (size_t i = 0; i < count; ++i)
      if (errors[i] < least[i]) {
        least[i] = errors[i];
        best[i] = tried[i];
      }
  }
  grid.write_scales(best.data(), columns, record);
  grid.recode(row, columns, record);
}

}  // namespace isogrid
