#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>

#include "core/error.h"
#include "trainer/records/drawing.h"
#include "trainer/records/stroke_font.h"

namespace isogrid {
namespace {

using Rgb = std::array<float, 3>;

Rgb rgb_of(const std::string& css) {  // "#rrggbb"
  Rgb colour{};
  for (size_t i = 0; i < 3; ++i)
    colour[i] = static_cast<float>(std::stoi(css.substr(1 + 2 * i, 2), nullptr, 16));
  return colour;
}

Rgb tone_of(const Shape& shape) {
  const Palette& palette = light_palette();
  switch (shape.tone) {
    case Tone::background:
      return rgb_of(palette.background);
    case Tone::ink:
      return rgb_of(palette.ink);
    case Tone::soft_ink:
      return rgb_of(palette.soft_ink);
    case Tone::grid:
      return rgb_of(palette.grid);
    case Tone::series:
      break;
  }
  return rgb_of(palette.series[static_cast<size_t>(shape.series % kSeriesColours)]);
}

double distance_to(Point place, Point from, Point to) {
  const double dx = to.x - from.x, dy = to.y - from.y;
  const double length = dx * dx + dy * dy;
  const double along =
      length == 0
          ? 0
          : std::clamp(((place.x - from.x) * dx + (place.y - from.y) * dy) / length, 0.0, 1.0);
  return std::hypot(place.x - from.x - along * dx, place.y - from.y - along * dy);
}

/// Pixels of three floats. A stroke's coverage is collected in a mask first, so that a line that
/// crosses itself is not darker there; then it is laid over what is there.
class Canvas {
 public:
  Canvas(int width, int height)
      : width_(width),
        height_(height),
        pixels_(static_cast<size_t>(width) * static_cast<size_t>(height),
                rgb_of(light_palette().background)),
        mask_(pixels_.size(), 0.0f),
        clip_{0, 0, static_cast<double>(width), static_cast<double>(height)} {}

  void clip(const Rectangle& frame) { clip_ = frame; }

  void stroke(std::span<const Point> points, double width) {
    if (points.size() == 1) segment(points[0], points[0], width / 2);
    for (size_t i = 1; i < points.size(); ++i) segment(points[i - 1], points[i], width / 2);
  }

  /// Lays what was stroked since the last call over the picture.
  void fill(const Rgb& colour, double opacity) {
    for (int y = touched_top_; y < touched_bottom_; ++y)
      for (int x = touched_left_; x < touched_right_; ++x) {
        float& cover = mask_[index(x, y)];
        if (cover == 0) continue;
        const float share = cover * static_cast<float>(opacity);
        Rgb& pixel = pixels_[index(x, y)];
        for (size_t i = 0; i < 3; ++i) pixel[i] += share * (colour[i] - pixel[i]);
        cover = 0;
      }
    touched_left_ = width_;
    touched_top_ = height_;
    touched_right_ = touched_bottom_ = 0;
  }

  /// Rows of RGB bytes, each behind the byte of its PNG filter ("up": what differs from the row
  /// above, which for plain areas is nothing).
  std::string filtered_rows() const {
    std::string rows;
    for (int y = 0; y < height_; ++y) {
      rows += '\2';
      for (int x = 0; x < width_; ++x)
        for (size_t i = 0; i < 3; ++i) {
          const int above = y == 0 ? 0 : level(pixels_[index(x, y - 1)][i]);
          rows += static_cast<char>(level(pixels_[index(x, y)][i]) - above);
        }
    }
    return rows;
  }

 private:
  static int level(float value) { return static_cast<int>(std::lround(value)); }
  size_t index(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x);
  }

  void segment(Point from, Point to, double radius) {
    const double reach = radius + 1;
    const auto first = [](double low, double limit) {
      return static_cast<int>(std::floor(std::max(low, limit)));
    };
    const auto last = [](double high, double limit) {
      return static_cast<int>(std::ceil(std::min(high, limit)));
    };
    const int left = first(std::min(from.x, to.x) - reach, clip_.left);
    const int right = last(std::max(from.x, to.x) + reach, clip_.right);
    const int top = first(std::min(from.y, to.y) - reach, clip_.top);
    const int bottom = last(std::max(from.y, to.y) + reach, clip_.bottom);
    for (int y = top; y < bottom; ++y)
      for (int x = left; x < right; ++x) {
        const double distance = distance_to({x + 0.5, y + 0.5}, from, to);
        const auto cover = static_cast<float>(std::clamp(radius + 0.5 - distance, 0.0, 1.0));
        float& kept = mask_[index(x, y)];
        kept = std::max(kept, cover);
      }
    touched_left_ = std::min(touched_left_, left);
    touched_right_ = std::max(touched_right_, right);
    touched_top_ = std::min(touched_top_, top);
    touched_bottom_ = std::max(touched_bottom_, bottom);
  }

  int width_, height_;
  std::vector<Rgb> pixels_;
  std::vector<float> mask_;
  Rectangle clip_;
  int touched_left_ = width_, touched_top_ = height_, touched_right_ = 0, touched_bottom_ = 0;
};

void draw_text(Canvas& canvas, const Shape& shape, double scale) {
  const StrokedText text = stroked_text(shape.text, shape.size * scale);
  const double shift = shape.anchor == Shape::Anchor::start    ? 0
                       : shape.anchor == Shape::Anchor::middle ? text.width / 2
                                                               : text.width;
  const Point place{shape.points.front().x * scale, shape.points.front().y * scale};
  const double pen = shape.size * scale * (shape.bold ? 0.105 : 0.075);
  for (std::vector<Point> stroke : text.strokes) {
    for (Point& point : stroke) {
      const double along = point.x - shift;
      point = shape.upwards ? Point{place.x + point.y, place.y - along}
                            : Point{place.x + along, place.y + point.y};
    }
    canvas.stroke(stroke, pen);
  }
}

void draw_shape(Canvas& canvas, const Shape& shape, double scale) {
  std::vector<Point> points = shape.points;
  for (Point& point : points) point = {point.x * scale, point.y * scale};
  switch (shape.kind) {
    case Shape::Kind::line:
      canvas.stroke(points, shape.size * scale);
      break;
    case Shape::Kind::dot:
      canvas.stroke(std::span(points).first(1), 2 * shape.size * scale);
      break;
    case Shape::Kind::text:
      draw_text(canvas, shape, scale);
      break;
  }
}

void put_big_endian(std::string& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

void put_chunk(std::string& png, std::string_view name, std::string_view data) {
  put_big_endian(png, static_cast<uint32_t>(data.size()));
  const size_t start = png.size();
  png.append(name).append(data);
  const auto* bytes = reinterpret_cast<const Bytef*>(png.data() + start);
  put_big_endian(png, static_cast<uint32_t>(crc32_z(0, bytes, png.size() - start)));
}

std::string deflated(const std::string& data) {
  uLongf size = compressBound(data.size());
  std::string packed(size, '\0');
  if (compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                reinterpret_cast<const Bytef*>(data.data()), data.size(), 9) != Z_OK)
    fail(ExitCode::memory, "a picture could not be compressed: out of memory");
  packed.resize(size);
  return packed;
}

}  // namespace

std::string to_png(const Drawing& drawing, double scale) {
  const int width = static_cast<int>(std::lround(drawing.width * scale));
  const int height = static_cast<int>(std::lround(drawing.height * scale));
  Canvas canvas(width, height);
  const Rectangle whole{0, 0, static_cast<double>(width), static_cast<double>(height)};
  const Rectangle frame{drawing.frame.left * scale, drawing.frame.top * scale,
                        drawing.frame.right * scale, drawing.frame.bottom * scale};
  for (const Shape& shape : drawing.shapes) {
    if (shape.points.empty()) continue;
    canvas.clip(shape.clipped ? frame : whole);
    draw_shape(canvas, shape, scale);
    canvas.fill(tone_of(shape), shape.opacity);
  }
  std::string png = "\x89PNG\r\n\x1a\n", header;
  put_big_endian(header, static_cast<uint32_t>(width));
  put_big_endian(header, static_cast<uint32_t>(height));
  header += std::string("\x08\x02\0\0\0", 5);  // 8 bits, RGB, deflate, filters, not interlaced
  put_chunk(png, "IHDR", header);
  put_chunk(png, "IDAT", deflated(canvas.filtered_rows()));
  put_chunk(png, "IEND", "");
  return png;
}

}  // namespace isogrid
