#include "trainer/records/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "core/error.h"
#include "trainer/records/stroke_font.h"

namespace isogrid {
namespace {

constexpr double kTitleSize = 17, kTextSize = 12.5;
constexpr size_t kMostLegends = 16;

/// Numbers so large that their differences overflow are gaps like infinity.
bool is_shown(Point point) { return std::abs(point.x) < 1e100 && std::abs(point.y) < 1e100; }

struct Range {
  double low = 0, high = 1;
};

/// The span of `values`, without the few that would squeeze all others into a line.
Range range_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  Range range{values.front(), values.back()};
  const auto at = [&](double share) {
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
  };
  const double usual = at(0.99) - at(0.01);
  if (usual > 0 && range.high - range.low > 6 * usual)
    range = {std::max(range.low, at(0.01) - usual / 2), std::min(range.high, at(0.99) + usual / 2)};
  if (range.high - range.low <= 1e-12 * std::max(std::abs(range.high), std::abs(range.low))) {
    const double room = range.high == 0 ? 1 : std::abs(range.high) / 10;
    range = {range.low - room, range.high + room};
  }
  return range;
}

Range span(const Chart& chart, double Point::*coordinate) {
  std::vector<double> values;
  for (const Curve& curve : chart.curves)
    for (const Point point : curve.points)
      if (is_shown(point)) values.push_back(point.*coordinate);
  if (coordinate == &Point::y) {
    Range range = range_of(std::move(values));
    if (chart.from_zero) range.low = std::min(0.0, range.low);
    return range;
  }
  if (values.empty()) return {};
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *low < *high ? Range{*low, *high} : Range{*low - 1, *high + 1};
}

/// Room above and below the curves; none below zero where nothing is negative.
Range with_room(Range range) {
  const double room = (range.high - range.low) * 0.05;
  const double low = range.low >= 0 ? std::max(0.0, range.low - room) : range.low - room;
  return {low, range.high + room};
}

/// Builds the drawing from the outside in: words, axes, curves.
class ChartPainter {
 public:
  ChartPainter(const Chart& chart, double width, double height) : chart_(chart) {
    drawing_.width = width;
    drawing_.height = height;
  }

  Drawing paint() {
    const double below_words = words();
    axes(below_words);
    for (const Curve& curve : chart_.curves) paint_curve(curve);
    last_values();
    return std::move(drawing_);
  }

 private:
  Shape& add(Shape shape) { return drawing_.shapes.emplace_back(std::move(shape)); }
  Shape& text(Point place, double size, Tone tone, std::string words,
              Shape::Anchor anchor = Shape::Anchor::start) {
    Shape shape{.kind = Shape::Kind::text, .points = {place}, .size = size, .tone = tone};
    shape.anchor = anchor;
    shape.text = std::move(words);
    return add(std::move(shape));
  }
  /// A little more than our own letters take: a browser's may be wider.
  static double width_of(const std::string& words) {
    return 1.1 * stroked_text(words, kTextSize).width;
  }

  /// Title, subtitle and legend; returns where they end.
  double words() {
    double baseline = 30;
    text({kMargin, baseline}, kTitleSize, Tone::ink, chart_.title).bold = true;
    if (!chart_.subtitle.empty())
      text({kMargin, baseline += 21}, kTextSize, Tone::soft_ink, chart_.subtitle);
    double x = kMargin;
    size_t shown = 0, hidden = 0;
    for (const Curve& curve : chart_.curves) {
      if (curve.name.empty()) continue;
      if (shown == kMostLegends) {
        ++hidden;
        continue;
      }
      const double needed = 30 + width_of(curve.name) + 18;
      if (shown == 0 || x + needed > drawing_.width - kMargin) {
        x = kMargin;
        baseline += 22;
      }
      legend(curve, {x, baseline});
      x += needed;
      ++shown;
    }
    if (hidden > 0) text({x, baseline}, kTextSize, Tone::soft_ink, concat("and ", hidden, " more"));
    return baseline;
  }

  void legend(const Curve& curve, Point place) {
    const double middle = place.y - 4.5;
    stroke({{place.x, middle}, {place.x + 22, middle}}, curve);
    if (curve.style == Curve::Style::dotted) dot({place.x + 11, middle}, curve.series);
    text({place.x + 30, place.y}, kTextSize, Tone::soft_ink, curve.name);
  }

  void axes(double below_words) {
    x_ = span(chart_, &Point::x);
    y_ = with_room(span(chart_, &Point::y));
    const double height = drawing_.height - below_words - 18 - 52;
    const std::vector<double> ticks =
        nice_ticks(y_.low, y_.high, static_cast<int>(std::clamp(height / 50, 2.0, 8.0)));
    const double y_step = ticks[1] - ticks[0];
    double label_width = 0;
    for (const double tick : ticks)
      label_width = std::max(label_width, width_of(tick_text(tick, y_step)));
    Rectangle& frame = drawing_.frame;
    frame = {kMargin + 24 + label_width, below_words + 18, drawing_.width - 64,
             drawing_.height - 52};
    for (const double tick : ticks) {
      if (tick < y_.low - y_step * 1e-6 || tick > y_.high + y_step * 1e-6) continue;
      const double height_of_tick = to_screen({x_.low, tick}).y;
      add({.points = {{frame.left, height_of_tick}, {frame.right, height_of_tick}},
           .tone = Tone::grid});
      text({frame.left - 8, height_of_tick + 4.3}, kTextSize, Tone::soft_ink,
           tick_text(tick, y_step), Shape::Anchor::end);
    }
    x_axis();
    Shape& label = text({kMargin + 10, (frame.top + frame.bottom) / 2}, kTextSize, Tone::soft_ink,
                        chart_.y_label, Shape::Anchor::middle);
    label.upwards = true;
  }

  void x_axis() {
    const Rectangle& frame = drawing_.frame;
    add({.points = {{frame.left, frame.bottom}, {frame.right, frame.bottom}},
         .tone = Tone::soft_ink});
    const std::vector<double> ticks =
        nice_ticks(x_.low, x_.high, std::max(2, static_cast<int>((frame.right - frame.left) / 90)));
    const double step = ticks[1] - ticks[0];
    for (const double tick : ticks) {
      if (tick < x_.low - step * 1e-6 || tick > x_.high + step * 1e-6) continue;
      if (chart_.x_label == "step" && tick != std::floor(tick)) continue;
      const double x = to_screen({tick, 0}).x;
      add({.points = {{x, frame.bottom}, {x, frame.bottom + 4}}, .tone = Tone::soft_ink});
      text({x, frame.bottom + 19}, kTextSize, Tone::soft_ink, tick_text(tick, step),
           Shape::Anchor::middle);
    }
    text({(frame.left + frame.right) / 2, frame.bottom + 40}, kTextSize, Tone::soft_ink,
         chart_.x_label, Shape::Anchor::middle);
    if (chart_.curves.empty())
      text({(frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2}, kTextSize,
           Tone::soft_ink, "nothing was logged", Shape::Anchor::middle);
  }

  Point to_screen(Point point) const {
    const Rectangle& frame = drawing_.frame;
    return {frame.left + (point.x - x_.low) / (x_.high - x_.low) * (frame.right - frame.left),
            frame.bottom - (point.y - y_.low) / (y_.high - y_.low) * (frame.bottom - frame.top)};
  }

  Shape& stroke(std::vector<Point> points, const Curve& curve) {
    Shape line{.points = std::move(points), .tone = Tone::series, .series = curve.series};
    line.size = curve.style == Curve::Style::strong ? 2.2 : 1.2;
    line.opacity = curve.style == Curve::Style::strong  ? 1
                   : curve.style == Curve::Style::faint ? 0.35
                                                        : 0.8;
    return add(std::move(line));
  }

  Shape& dot(Point place, int series) {
    return add({.kind = Shape::Kind::dot,
                .points = {place},
                .size = 3.6,
                .tone = Tone::series,
                .series = series});
  }

  void paint_curve(const Curve& curve) {
    std::vector<Point> piece;
    const auto end_piece = [&] {
      if (piece.size() == 1 && curve.style != Curve::Style::dotted)
        dot(piece.front(), curve.series).clipped = true;
      if (piece.size() > 1) stroke(std::exchange(piece, {}), curve).clipped = true;
      piece.clear();
    };
    for (const Point point : thinned(curve.points, 2000)) {
      if (is_shown(point))
        piece.push_back(to_screen(point));
      else
        end_piece();
    }
    end_piece();
    if (curve.style != Curve::Style::dotted) return;
    for (const Point point : curve.points)
      if (is_shown(point)) dot(to_screen(point), curve.series).clipped = curve.points.size() > 200;
  }

  /// The numbers in which the curves end, beside the frame.
  void last_values() {
    struct Ending {
      double y;
      const Curve* curve;
      std::string words;
    };
    const Rectangle& frame = drawing_.frame;
    std::vector<Ending> endings;
    for (const Curve& curve : chart_.curves) {
      if (curve.style == Curve::Style::faint) continue;
      const auto last = std::find_if(curve.points.rbegin(), curve.points.rend(), is_shown);
      if (last == curve.points.rend() || last->x < x_.high - (x_.high - x_.low) / 50) continue;
      endings.push_back({std::clamp(to_screen(*last).y, frame.top, frame.bottom), &curve,
                         tick_text(last->y, (y_.high - y_.low) / 500)});
    }
    std::sort(endings.begin(), endings.end(),
              [](const Ending& one, const Ending& other) { return one.y < other.y; });
    double lowest = 0;
    for (const auto& [y, curve, words] : endings) {
      lowest = std::max(y + 4.3, lowest + kTextSize + 1.5);
      if (lowest > drawing_.height - 4) break;
      Shape& number = text({frame.right + 8, lowest}, kTextSize, Tone::series, words);
      number.series = curve->series;
      number.bold = true;
    }
  }

  static constexpr double kMargin = 18;
  const Chart& chart_;
  Drawing drawing_;
  Range x_, y_;
};

}  // namespace

Drawing draw_chart(const Chart& chart, double width, double height) {
  return ChartPainter(chart, width, height).paint();
}

std::vector<double> nice_ticks(double low, double high, int about) {
  const double rough = (high - low) / std::max(about, 1);
  const double magnitude = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * magnitude;
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * magnitude >= rough * 0.999) {
      step = factor * magnitude;
      break;
    }
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  std::vector<double> ticks;
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  if (ticks.size() < 2) ticks.push_back(ticks.front() + step);
  return ticks;
}

std::string tick_text(double value, double distance) {
  std::array<char, 48> text{};
  const double size = std::abs(value);
  if (size < distance / 1000) return "0";
  if (size >= 1e6 || distance < 1e-4) {
    std::snprintf(text.data(), text.size(), "%.3g", value);
    return text.data();
  }
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(distance) - 1e-9)), 0, 6);
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

std::vector<Point> smoothed(const std::vector<Point>& points, double half_life) {
  const double keep = std::exp2(-1 / std::max(half_life, 1e-3));
  struct Sum {
    double values = 0, weights = 0;
  };
  std::vector<Sum> before(points.size());
  Sum sum;
  const auto take = [&](Point point) {
    const bool counts = is_shown(point);
    sum = {sum.values * keep + (counts ? point.y : 0), sum.weights * keep + (counts ? 1 : 0)};
    return sum;
  };
  for (size_t i = 0; i < points.size(); ++i) before[i] = take(points[i]);
  sum = {};
  std::vector<Point> result = points;
  for (size_t i = points.size(); i-- > 0;) {
    const Sum after = take(points[i]);
    if (is_shown(points[i]))  // a point itself is in both sums
      result[i].y =
          (before[i].values + after.values - points[i].y) / (before[i].weights + after.weights - 1);
  }
  return result;
}

std::vector<Point> thinned(const std::vector<Point>& points, size_t most) {
  if (points.size() <= most || most < 4) return points;
  const size_t buckets = most / 2;
  std::vector<Point> result;
  for (size_t i = 0; i < buckets; ++i) {
    const auto first = points.begin() + static_cast<std::ptrdiff_t>(i * points.size() / buckets);
    const auto last =
        points.begin() + static_cast<std::ptrdiff_t>((i + 1) * points.size() / buckets);
    const auto gap = std::find_if_not(first, last, is_shown);
    if (gap != last) {
      result.push_back(*gap);
      continue;
    }
    const auto [low, high] = std::minmax_element(
        first, last, [](const Point& one, const Point& other) { return one.y < other.y; });
    result.push_back(*std::min(low, high));
    if (low != high) result.push_back(*std::max(low, high));
  }
  return result;
}

}  // namespace isogrid
