#include "trainer/records/chart.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <limits>

#include "tests/core/refusal.h"
#include "tests/core/temporary_directory.h"
#include "trainer/records/loss_charts.h"
#include "trainer/records/report.h"
#include "trainer/records/stroke_font.h"

namespace isogrid {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(NiceTicks, AreRoundAndSpanTheRange) {
  EXPECT_EQ(nice_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(nice_ticks(0.3, 0.9, 3), (std::vector<double>{0.2, 0.4, 0.6000000000000001, 0.8, 1}));
  EXPECT_EQ(nice_ticks(-3, 4, 2), (std::vector<double>{-5, 0, 5}));
}

TEST(TickText, HasTheDecimalsItsDistanceAsksFor) {
  EXPECT_EQ(tick_text(2, 0.5), "2.0");
  EXPECT_EQ(tick_text(150, 50), "150");
  EXPECT_EQ(tick_text(0, 0.0001), "0");
  EXPECT_EQ(tick_text(0.0002, 0.0001), "0.0002");
  EXPECT_EQ(tick_text(2e-5, 1e-5), "2e-05");
  EXPECT_EQ(tick_text(2e6, 1e6), "2e+06");
}

TEST(Smoothed, KeepsConstantsAndWeighsBothSidesAlike) {
  const std::vector<Point> constant = {{1, 3}, {2, 3}, {3, 3}};
  for (const Point point : smoothed(constant, 2)) EXPECT_DOUBLE_EQ(point.y, 3);
  // Half-life 1: the neighbours of a point weigh 1/2, those behind them 1/4.
  const std::vector<Point> result = smoothed({{1, 0}, {2, 4}, {3, 0}}, 1);
  EXPECT_DOUBLE_EQ(result[1].y, 4 / 2.0);
  EXPECT_DOUBLE_EQ(result[0].y, 2 / 1.75);
  EXPECT_DOUBLE_EQ(result[2].y, 2 / 1.75);
}

TEST(Smoothed, LeavesGapsOpen) {
  const std::vector<Point> result = smoothed({{1, 2}, {2, kNan}, {3, 2}}, 1);
  EXPECT_DOUBLE_EQ(result[0].y, 2);
  EXPECT_TRUE(std::isnan(result[1].y));
  EXPECT_DOUBLE_EQ(result[2].y, 2);
}

TEST(Thinned, KeepsPeaksAndOrder) {
  std::vector<Point> points;
  for (int i = 0; i < 10000; ++i) points.push_back({static_cast<double>(i), i == 4321 ? 9.0 : 1.0});
  const std::vector<Point> few = thinned(points, 100);
  EXPECT_LE(few.size(), 100u);
  double highest = 0, last = -1;
  for (const Point point : few) {
    highest = std::max(highest, point.y);
    EXPECT_GT(point.x, last);
    last = point.x;
  }
  EXPECT_EQ(highest, 9);
}

TEST(StrokedText, KnowsAllOfAsciiAndCountsCharacters) {
  for (char c = '!'; c <= '~'; ++c) {
    const StrokedText text = stroked_text(std::string(1, c), 10);
    ASSERT_FALSE(text.strokes.empty()) << c;
    for (const auto& stroke : text.strokes)
      for (const Point point : stroke) {
        EXPECT_GE(point.x, -0.5) << c;
        EXPECT_LE(point.x, text.width + 0.5) << c;
        EXPECT_GE(point.y, -9) << c;
        EXPECT_LE(point.y, 3) << c;
      }
  }
  EXPECT_DOUBLE_EQ(stroked_text("é", 10).width, stroked_text("漢", 10).width);
  EXPECT_DOUBLE_EQ(stroked_text("\xff\xfe", 10).width, stroked_text("éé", 10).width);
}

Chart chart_of(std::vector<Point> points, Curve::Style style = Curve::Style::strong) {
  Chart chart{.title = "<T&\"'>", .x_label = "step", .y_label = "loss"};
  chart.curves.push_back({"curve", std::move(points), style, 0});
  return chart;
}

TEST(DrawChart, PutsPointsWhereTheAxesSay) {
  const Drawing drawing = draw_chart(chart_of({{0, 0}, {10, 1}}), 900, 520);
  const Shape* curve = nullptr;
  for (const Shape& shape : drawing.shapes)
    if (shape.clipped) curve = &shape;
  ASSERT_NE(curve, nullptr);
  EXPECT_DOUBLE_EQ(curve->points[0].x, drawing.frame.left);
  EXPECT_DOUBLE_EQ(curve->points[0].y, drawing.frame.bottom);
  EXPECT_DOUBLE_EQ(curve->points[1].x, drawing.frame.right);
  EXPECT_GT(curve->points[1].y, drawing.frame.top);
}

TEST(DrawChart, TakesWhateverNumbersCome) {
  const std::vector<std::vector<Point>> cases = {{},
                                                 {{1, 2}},
                                                 {{1, kNan}, {2, kNan}},
                                                 {{1, 1e308}, {2, -1e308}, {3, 1}},
                                                 {{1, 5}, {2, 5}, {3, 5}},
                                                 {{1, 1e-30}, {2, 2e-30}},
                                                 {{0, 1e15}, {1, 1e15 + 1}},
                                                 {{1, 1}, {2, HUGE_VAL}, {3, 2}, {4, -HUGE_VAL}},
                                                 {{1e15, 1}, {1e15 + 1, 2}}};
  for (const auto& points : cases)
    for (const auto style : {Curve::Style::strong, Curve::Style::faint, Curve::Style::dotted})
      for (const double width : {900.0, 120.0}) {
        const Drawing drawing = draw_chart(chart_of(points, style), width, 300);
        const std::string svg = to_svg(drawing, light_palette());
        EXPECT_EQ(svg.find("nan"), std::string::npos);
        EXPECT_EQ(svg.find("inf"), std::string::npos);
        EXPECT_GT(to_png(drawing, 1).size(), 100u);
      }
}

TEST(DrawChart, IsNotSqueezedByOneWildPoint) {
  std::vector<Point> points;
  for (int i = 0; i < 300; ++i) points.push_back({static_cast<double>(i), 1 + 0.01 * (i % 7)});
  points[5].y = 1e6;
  const Drawing drawing = draw_chart(chart_of(points), 900, 520);
  bool has_fine_tick = false;
  for (const Shape& shape : drawing.shapes)
    has_fine_tick |= shape.kind == Shape::Kind::text && shape.text == "1.02";
  EXPECT_TRUE(has_fine_tick);
}

TEST(ToSvg, EscapesTextAndNamesNothingOutside) {
  const std::string svg = to_svg(draw_chart(chart_of({{0, 0}, {1, 1}}), 900, 520), light_palette());
  EXPECT_NE(svg.find("&lt;T&amp;&quot;&#39;&gt;"), std::string::npos);
  EXPECT_EQ(svg.find("href"), std::string::npos);
  EXPECT_EQ(svg.find("url("), std::string::npos);
}

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

TEST(ToPng, IsAPictureWithTheRightChecksumsAndPixels) {
  Drawing drawing{.width = 8, .height = 6, .frame = {0, 0, 8, 6}, .shapes = {}};
  drawing.shapes.push_back({.points = {{0, 3}, {8, 3}}, .size = 2, .tone = Tone::grid});
  const std::string png = to_png(drawing, 1);
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(big_endian(png, 16), 8u);
  EXPECT_EQ(big_endian(png, 20), 6u);
  std::string data;
  for (size_t at = 8; at < png.size();) {
    const size_t length = big_endian(png, at);
    const auto* chunk = reinterpret_cast<const Bytef*>(png.data() + at + 4);
    EXPECT_EQ(big_endian(png, at + 8 + length), crc32_z(0, chunk, 4 + length));
    if (png.substr(at + 4, 4) == "IDAT") data = png.substr(at + 8, length);
    at += 12 + length;
  }
  std::string rows(6 * 25, '\0');
  uLongf size = rows.size();
  ASSERT_EQ(uncompress(reinterpret_cast<Bytef*>(rows.data()), &size,
                       reinterpret_cast<const Bytef*>(data.data()), data.size()),
            Z_OK);
  ASSERT_EQ(size, rows.size());
  // A line two pixels wide around y = 3 covers rows 2 and 3 whole: #e6e9ed.
  const std::vector<int> expected_red = {255, 255, 230, 230, 255, 255};
  int red = 0;
  for (size_t y = 0; y < 6; ++y) {
    EXPECT_EQ(rows[y * 25], 2);  // "up"
    red = (red + static_cast<unsigned char>(rows[y * 25 + 1 + 3 * 4])) & 255;
    EXPECT_EQ(red, expected_red[y]) << y;
  }
}

std::vector<LogRow> rows_of_a_run() {
  std::vector<LogRow> rows;
  for (int64_t step = 1; step <= 40; ++step) {
    rows.push_back({.step = step, .loss = 3.0 / static_cast<double>(step), .learning_rate = 1e-4});
    if (step % 10 == 0) rows.push_back({.is_eval = true, .step = step, .loss = 1.0});
  }
  return rows;
}

TEST(LossChart, HasMeasuredSmoothedAndEvaluatedCurves) {
  const Chart chart = loss_chart(rows_of_a_run(), "T");
  ASSERT_EQ(chart.curves.size(), 3u);
  EXPECT_EQ(chart.curves[0].points.size(), 40u);
  EXPECT_EQ(chart.curves[2].name, "evaluation");
  EXPECT_EQ(chart.curves[2].points.size(), 4u);
}

TEST(Report, StandsAlone) {
  Report report{.title = "run <1>", .rows = rows_of_a_run(), .settings = "key: \"</pre>\"\n"};
  report.figures = {{"final loss", "0.075"}};
  report.sections = {{"Memory", {{"weights", "1.2 GiB"}}}};
  const std::string html = report_html(report);
  EXPECT_NE(html.find("run &lt;1&gt;"), std::string::npos);
  EXPECT_NE(html.find("&lt;/pre&gt;"), std::string::npos);
  EXPECT_NE(html.find("prefers-color-scheme: dark"), std::string::npos);
  for (const char* outside : {"src=", "href=", "@import", "url(", "<script", "https:"})
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  const TemporaryDirectory folder;
  write_report(folder.path(), report);
  for (const char* name : {"training_loss.svg", "training_loss.png", "report.html"})
    EXPECT_GT(std::filesystem::file_size(folder / name), 1000u) << name;
}

TEST(WriteChart, NeedsANameThatTellsTheKind) {
  expect_refusal([] { write_chart("plot.jpg", {}); }, ExitCode::usage, "ends in .svg or .png");
}

}  // namespace
}  // namespace isogrid
