#include <array>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "trainer/records/drawing.h"

namespace isogrid {
namespace {

std::string pixels(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  std::string number = text.data();
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return number == "-0" ? "0" : number;
}

const std::string& colour_of(const Shape& shape, const Palette& palette) {
  switch (shape.tone) {
    case Tone::background:
      return palette.background;
    case Tone::ink:
      return palette.ink;
    case Tone::soft_ink:
      return palette.soft_ink;
    case Tone::grid:
      return palette.grid;
    case Tone::series:
      break;
  }
  return palette.series[static_cast<size_t>(shape.series % kSeriesColours)];
}

std::string line_element(const Shape& shape, const std::string& colour) {
  std::string path;
  for (size_t i = 0; i < shape.points.size(); ++i)
    path += concat(i == 0   ? "M"
                   : i == 1 ? "L"
                            : " ",
                   pixels(shape.points[i].x), ",", pixels(shape.points[i].y));
  return concat("<path d=\"", path, "\" fill=\"none\" stroke=\"", colour, "\" stroke-width=\"",
                pixels(shape.size), "\" stroke-linejoin=\"round\" stroke-linecap=\"round\"");
}

std::string text_element(const Shape& shape, const std::string& colour) {
  static constexpr std::array<const char*, 3> kAnchors = {"start", "middle", "end"};
  const Point place = shape.points.front();
  const std::string where = shape.upwards
                                ? concat("transform=\"translate(", pixels(place.x), " ",
                                         pixels(place.y), ") rotate(-90)\"")
                                : concat("x=\"", pixels(place.x), "\" y=\"", pixels(place.y), "\"");
  return concat("<text ", where, " font-size=\"", pixels(shape.size), "\" fill=\"", colour,
                "\" text-anchor=\"", kAnchors[static_cast<size_t>(shape.anchor)], "\"",
                shape.bold ? " font-weight=\"600\"" : "");
}

}  // namespace

std::string escaped_markup(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      case '\'':
        safe += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') safe += c;
    }
  }
  return safe;
}

const Palette& light_palette() {
  static const Palette palette = {
      "#ffffff",
      "#1c2733",
      "#66727f",
      "#e6e9ed",
      {"#0b6bb8", "#d9600a", "#0a8f6c", "#b0478a", "#c28800", "#4aa3df", "#6b4fa3", "#4d5761"}};
  return palette;
}

const Palette& css_palette() {
  static const Palette palette = [] {
    Palette made{"var(--background)", "var(--ink)", "var(--soft-ink)", "var(--grid)", {}};
    for (int i = 0; i < kSeriesColours; ++i) made.series.push_back(concat("var(--series-", i, ")"));
    return made;
  }();
  return palette;
}

std::string to_svg(const Drawing& drawing, const Palette& palette) {
  const std::string width = pixels(drawing.width), height = pixels(drawing.height);
  const Rectangle& frame = drawing.frame;
  std::string svg = concat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", width, " ", height, "\" width=\"",
      width, "\" height=\"", height,
      "\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\">\n<rect width=\"",
      width, "\" height=\"", height, "\" fill=\"", palette.background, "\"/>\n");
  // A nested svg clips at its border, and unlike a clip path needs no name that must be unique.
  const std::string window =
      concat("<svg x=\"", pixels(frame.left), "\" y=\"", pixels(frame.top), "\" width=\"",
             pixels(frame.right - frame.left), "\" height=\"", pixels(frame.bottom - frame.top),
             "\" viewBox=\"", pixels(frame.left), " ", pixels(frame.top), " ",
             pixels(frame.right - frame.left), " ", pixels(frame.bottom - frame.top), "\">");
  for (const Shape& shape : drawing.shapes) {
    if (shape.points.empty()) continue;
    const std::string& colour = colour_of(shape, palette);
    std::string element;
    switch (shape.kind) {
      case Shape::Kind::line:
        element = line_element(shape, colour);
        break;
      case Shape::Kind::dot:
        element = concat("<circle cx=\"", pixels(shape.points.front().x), "\" cy=\"",
                         pixels(shape.points.front().y), "\" r=\"", pixels(shape.size),
                         "\" fill=\"", colour, "\"");
        break;
      case Shape::Kind::text:
        element = text_element(shape, colour);
        break;
    }
    if (shape.opacity < 1) element += concat(" opacity=\"", shape.opacity, "\"");
    element +=
        shape.kind == Shape::Kind::text ? ">" + escaped_markup(shape.text) + "</text>" : "/>";
    svg += (shape.clipped ? window + element + "</svg>" : element) + "\n";
  }
  return svg + "</svg>\n";
}

}  // namespace isogrid
