#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace isogrid {

struct Point {
  double x = 0, y = 0;
};

struct Rectangle {
  double left = 0, top = 0, right = 0, bottom = 0;
};

/// What a colour is for; a palette says which it is. Values from series on are curves' own.
enum class Tone { background, ink, soft_ink, grid, series };
inline constexpr int kSeriesColours = 8;

/// One thing to draw, in pixels from the upper left corner.
struct Shape {
  enum class Kind { line, dot, text };
  enum class Anchor { start, middle, end };
  Kind kind = Kind::line;
  std::vector<Point> points = {};  // of a line; else the one place, for text on its base line
  double size = 1;                 // width of a line, radius of a dot, height of letters
  Tone tone = Tone::ink;
  int series = 0;  // which curve's colour
  double opacity = 1;
  bool clipped = false;  // to the drawing's frame
  bool bold = false;
  bool upwards = false;  // text turned by a quarter
  Anchor anchor = Anchor::start;
  std::string text = {};
};

struct Drawing {
  double width = 0, height = 0;
  Rectangle frame;  // what `clipped` means
  std::vector<Shape> shapes;
};

/// Colours as CSS has them: "#0072b2" or "var(--ink)".
struct Palette {
  std::string background, ink, soft_ink, grid;
  std::vector<std::string> series;  // kSeriesColours of them
};
const Palette& light_palette();
const Palette& css_palette();  // custom properties of the page around it

/// An <svg> element that needs nothing from elsewhere.
std::string to_svg(const Drawing& drawing, const Palette& palette);

/// A PNG, `scale` pixels for each of the drawing's, in the light palette.
std::string to_png(const Drawing& drawing, double scale);

/// Text made safe for XML and HTML; control characters are left out.
std::string escaped_markup(std::string_view text);

}  // namespace isogrid
