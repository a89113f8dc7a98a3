#include "trainer/records/loss_charts.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace isogrid {
namespace {

std::vector<Point> points_of(const std::vector<LogRow>& rows, bool evaluations,
                             double LogRow::*value) {
  std::vector<Point> points;
  for (const LogRow& row : rows)
    if (row.is_eval == evaluations) points.push_back({static_cast<double>(row.step), row.*value});
  return points;
}

bool has_something(const std::vector<Point>& points) {
  return std::any_of(points.begin(), points.end(),
                     [](Point point) { return std::isfinite(point.y); });
}

/// A curve of a few points needs no smoothing; a long one is smoothed over this part of itself.
double half_life_of(size_t points) { return static_cast<double>(points) / 80; }

bool is_long(const std::vector<Point>& points) { return points.size() >= 20; }

void add_curves(Chart& chart, std::vector<Point> points, const std::string& name, int series) {
  if (!is_long(points)) {
    chart.curves.push_back({name, std::move(points), Curve::Style::strong, series});
    return;
  }
  std::vector<Point> smooth = smoothed(points, half_life_of(points.size()));
  chart.curves.push_back({"", std::move(points), Curve::Style::faint, series});
  chart.curves.push_back({name, std::move(smooth), Curve::Style::strong, series});
}

}  // namespace

Chart loss_chart(const std::vector<LogRow>& rows, const std::string& title) {
  Chart chart{.title = title, .x_label = "step", .y_label = "loss"};
  const std::vector<Point> train = points_of(rows, false, &LogRow::loss);
  const std::vector<Point> eval = points_of(rows, true, &LogRow::loss);
  if (has_something(train)) {
    add_curves(chart, train, is_long(train) ? "training, smoothed" : "training", 0);
    if (is_long(train)) chart.curves.front().name = "as measured";
  }
  if (has_something(eval)) chart.curves.push_back({"evaluation", eval, Curve::Style::dotted, 1});
  return chart;
}

std::vector<Chart> other_charts(const std::vector<LogRow>& rows) {
  struct Quantity {
    const char* title;
    double LogRow::*value;
    bool from_zero;
  };
  std::vector<Chart> charts;
  for (const auto& [title, value, from_zero] :
       {Quantity{"Learning rate", &LogRow::learning_rate, true},
        Quantity{"Gradient norm", &LogRow::grad_norm, true},
        Quantity{"Tokens per second", &LogRow::tokens_per_second, true}}) {
    const std::vector<Point> points = points_of(rows, false, value);
    if (!has_something(points)) continue;
    Chart chart{.title = title, .x_label = "step", .from_zero = from_zero};
    chart.curves.push_back({"", points, Curve::Style::strong, static_cast<int>(2 + charts.size())});
    charts.push_back(std::move(chart));
  }
  return charts;
}

Chart overlay_chart(const std::vector<NamedLog>& logs) {
  Chart chart{.title = "Training loss", .x_label = "step", .y_label = "loss"};
  int series = 0;
  for (const auto& [name, rows] : logs) {
    const std::vector<Point> train = points_of(rows, false, &LogRow::loss);
    const std::vector<Point> eval = points_of(rows, true, &LogRow::loss);
    if (has_something(train)) add_curves(chart, train, name, series);
    if (has_something(eval))
      chart.curves.push_back({concat(name, ", evaluation"), eval, Curve::Style::dotted, series});
    ++series;
  }
  return chart;
}

}  // namespace isogrid
