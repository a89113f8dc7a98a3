#pragma once
#include <string>
#include <vector>

#include "trainer/records/drawing.h"

namespace isogrid {

/// One curve of a chart. Points that are not finite are gaps.
struct Curve {
  enum class Style { faint, strong, dotted };  // as measured; smoothed; few points, each shown
  std::string name = {};                       // for the legend; empty: not in it
  std::vector<Point> points = {};
  Style style = Style::strong;
  int series = 0;
};

struct Chart {
  std::string title = {}, subtitle = {};
  std::string x_label = {}, y_label = {};
  std::vector<Curve> curves = {};
  bool from_zero = false;  // the vertical axis begins at 0
};

Drawing draw_chart(const Chart& chart, double width, double height);

/// Round numbers (1, 2, 5 times a power of ten) that span at least [low, high].
std::vector<double> nice_ticks(double low, double high, int about);
/// Numbers of an axis, all with as many decimals as their distance asks for.
std::string tick_text(double value, double distance);

/// Each point becomes a mean of all, whose weights halve every `half_life` points to both sides: no
/// lag behind a falling curve, and no pull at its ends. Gaps stay gaps.
std::vector<Point> smoothed(const std::vector<Point>& points, double half_life);
/// At most about `most` points with the same peaks.
std::vector<Point> thinned(const std::vector<Point>& points, size_t most);

}  // namespace isogrid
