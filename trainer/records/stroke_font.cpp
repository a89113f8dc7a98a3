#include "trainer/records/stroke_font.h"

#include <utf8proc.h>

#include <charconv>
#include <cstddef>
#include <iterator>

namespace isogrid {
namespace {

/// A width, then paths: M moves, L draws lines, Q a curve by its control point and end. The base
/// line is at 0, small letters are 10 high, capitals 14. Digits are equally wide.
struct Glyph {
  char character;
  double width;
  const char* path;
};

// clang-format off
constexpr Glyph kGlyphs[] = {
    {' ', 3.4, ""},
    {'!', 0, "M0 14 L0 4.2 M0 0 L0 0.3"},
    {'"', 3, "M0 14 L0 10 M3 14 L3 10"},
    {'#', 9, "M2.6 0 L4 14 M6 0 L7.4 14 M0.4 9.4 L9.4 9.4 M0 4.6 L9 4.6"},
    {'$', 8, "M7.6 11.2 Q6.6 12.8 4.2 12.8 Q0.6 12.8 0.6 9.9 Q0.6 7.8 4 7 Q8 6.1 8 3.7 Q8 1 4.1 1 Q1.2 1 0.1 3 M4 15 L4 -1"},
    {'%', 11.2, "M9.8 14 L1.4 0 M2.3 8 Q0 8 0 11 Q0 14 2.3 14 Q4.6 14 4.6 11 Q4.6 8 2.3 8 M8.9 0 Q6.6 0 6.6 3 Q6.6 6 8.9 6 Q11.2 6 11.2 3 Q11.2 0 8.9 0"},
    {'&', 10, "M10 0 L2.4 9 Q0.9 10.8 1.4 12.2 Q2 14 4 14 Q6.6 14 6.6 11.6 Q6.6 9.6 3.4 7.8 Q0 6 0 3.4 Q0 0 4.2 0 Q8.4 0 9.4 6"},
    {'\'', 0, "M0 14 L0 10"},
    {'(', 3, "M3 15.5 Q0 11 0 6 Q0 1 3 -3.5"},
    {')', 3, "M0 15.5 Q3 11 3 6 Q3 1 0 -3.5"},
    {'*', 6, "M3 14 L3 8 M0.4 12.5 L5.6 9.5 M0.4 9.5 L5.6 12.5"},
    {'+', 8, "M0 6 L8 6 M4 2 L4 10"},
    {',', 0.6, "M0.6 0.4 L0 -2.6"},
    {'-', 4.6, "M0 5.4 L4.6 5.4"},
    {'.', 0, "M0 0 L0 0.3"},
    {'/', 6, "M0 -2 L6 15"},
    {'0', 8.2, "M4.1 0 Q0 0 0 7 Q0 14 4.1 14 Q8.2 14 8.2 7 Q8.2 0 4.1 0"},
    {'1', 8.2, "M1.4 11.4 L4.8 14 4.8 0"},
    {'2', 8.2, "M0.3 10.4 Q0.6 14 4.1 14 Q7.8 14 7.8 10.4 Q7.8 8.4 5.8 6.2 L0.2 0 8 0"},
    {'3', 8.2, "M0.5 11.4 Q1.3 14 4 14 Q7.6 14 7.6 10.7 Q7.6 7.4 3.4 7.4 Q8.1 7.4 8.1 3.7 Q8.1 0 4 0 Q0.9 0 0.1 2.9"},
    {'4', 8.2, "M6.2 0 L6.2 14 0 4.2 8.2 4.2"},
    {'5', 8.2, "M7.4 14 L1.3 14 0.6 7.6 Q2 8.9 4 8.9 Q8 8.9 8 4.5 Q8 0 3.9 0 Q1 0 0.1 2.6"},
    {'6', 8.2, "M7.2 12.2 Q6.2 14 4.4 14 Q0.2 14 0.2 5.6 Q0.2 0 4.2 0 Q8.1 0 8.1 4.4 Q8.1 8.6 4.3 8.6 Q1 8.6 0.3 5.2"},
    {'7', 8.2, "M0 14 L8.2 14 2.8 0"},
    {'8', 8.2, "M4.1 7.5 Q0.7 7.5 0.7 10.8 Q0.7 14 4.1 14 Q7.5 14 7.5 10.8 Q7.5 7.5 4.1 7.5 Q0 7.5 0 3.7 Q0 0 4.1 0 Q8.2 0 8.2 3.7 Q8.2 7.5 4.1 7.5"},
    {'9', 8.2, "M1 1.8 Q2 0 3.8 0 Q8 0 8 8.4 Q8 14 4 14 Q0.1 14 0.1 9.6 Q0.1 5.4 3.9 5.4 Q7.2 5.4 7.9 8.8"},
    {':', 0, "M0 0 L0 0.3 M0 8 L0 8.3"},
    {';', 0.6, "M0.6 0.4 L0 -2.6 M0.6 8 L0.6 8.3"},
    {'<', 7, "M7 10 L0 6 7 2"},
    {'=', 8, "M0 4.2 L8 4.2 M0 8 L8 8"},
    {'>', 7, "M0 10 L7 6 0 2"},
    {'?', 7, "M0 10.8 Q0.3 14 3.5 14 Q7 14 7 11 Q7 9.2 5.2 8 Q3.5 6.8 3.5 4.4 M3.5 0 L3.5 0.3"},
    {'@', 13, "M9.4 9 L9 4.6 Q9 2.8 10.6 2.8 Q13 3.2 13 7.2 Q13 13.4 6.8 13.4 Q0 13.4 0 5.6 Q0 -2.2 7 -2.2 Q9.4 -2.2 11 -1.2 M9.2 6.4 Q8.8 9.4 6.6 9.4 Q3.6 9.4 3.6 6 Q3.6 2.8 6 2.8 Q8.6 2.8 9.2 6.4"},
    {'A', 10, "M0 0 L5 14 10 0 M1.7 4.8 L8.3 4.8"},
    {'B', 8.7, "M0 7.4 L4.5 7.4 Q8.7 7.4 8.7 3.7 Q8.7 0 4.5 0 L0 0 0 14 4.3 14 Q8 14 8 10.7 Q8 7.4 4.5 7.4"},
    {'C', 9.5, "M9.5 11.2 Q8.2 14 5.4 14 Q0 14 0 7 Q0 0 5.4 0 Q8.2 0 9.5 2.8"},
    {'D', 9.5, "M0 0 L0 14 3.8 14 Q9.5 14 9.5 7 Q9.5 0 3.8 0 L0 0"},
    {'E', 7.6, "M7.6 0 L0 0 0 14 7.6 14 M0 7.4 L6.6 7.4"},
    {'F', 7.4, "M0 0 L0 14 7.4 14 M0 7.2 L6.2 7.2"},
    {'G', 9.8, "M9.4 11.4 Q8.2 14 5.4 14 Q0 14 0 7 Q0 0 5.4 0 Q9.8 0 9.8 6.6 L5.8 6.6"},
    {'H', 9.4, "M0 0 L0 14 M9.4 0 L9.4 14 M0 7.3 L9.4 7.3"},
    {'I', 0, "M0 0 L0 14"},
    {'J', 6, "M6 14 L6 4 Q6 0 2.9 0 Q0 0 0 3.4"},
    {'K', 8.8, "M0 0 L0 14 M8.4 14 L0 5.4 M3.2 8.6 L8.8 0"},
    {'L', 7.2, "M0 14 L0 0 7.2 0"},
    {'M', 11.6, "M0 0 L0 14 5.8 3.5 11.6 14 11.6 0"},
    {'N', 9.4, "M0 0 L0 14 9.4 0 9.4 14"},
    {'O', 11, "M5.5 0 Q0 0 0 7 Q0 14 5.5 14 Q11 14 11 7 Q11 0 5.5 0"},
    {'P', 8.4, "M0 0 L0 14 4.5 14 Q8.4 14 8.4 10.2 Q8.4 6.4 4.5 6.4 L0 6.4"},
    {'Q', 11, "M5.5 0 Q0 0 0 7 Q0 14 5.5 14 Q11 14 11 7 Q11 0 5.5 0 M7 3.6 L10.6 -0.8"},
    {'R', 8.8, "M0 0 L0 14 4.5 14 Q8.4 14 8.4 10.3 Q8.4 6.6 4.5 6.6 L0 6.6 M4.6 6.6 L8.8 0"},
    {'S', 8.5, "M8 11.6 Q7 14 4.3 14 Q0.5 14 0.5 10.6 Q0.5 8.1 4.2 7.2 Q8.5 6.2 8.5 3.5 Q8.5 0 4.3 0 Q1 0 0 2.8"},
    {'T', 9, "M0 14 L9 14 M4.5 14 L4.5 0"},
    {'U', 9, "M0 14 L0 5 Q0 0 4.5 0 Q9 0 9 5 L9 14"},
    {'V', 9.6, "M0 14 L4.8 0 9.6 14"},
    {'W', 13.6, "M0 14 L3.4 0 6.8 12.5 10.2 0 13.6 14"},
    {'X', 9, "M0 0 L9 14 M0 14 L9 0"},
    {'Y', 9, "M0 14 L4.5 6.6 9 14 M4.5 6.6 L4.5 0"},
    {'Z', 8.5, "M0 14 L8.5 14 0 0 8.5 0"},
    {'[', 3, "M3 15.5 L0 15.5 0 -3.5 3 -3.5"},
    {'\\', 6, "M0 15 L6 -2"},
    {']', 3, "M0 15.5 L3 15.5 3 -3.5 0 -3.5"},
    {'^', 7, "M0 8.5 L3.5 14 7 8.5"},
    {'_', 8, "M0 -2 L8 -2"},
    {'`', 2, "M0 14 L2 11.6"},
    {'a', 7.2, "M7.2 10 L7.2 0 M7.2 5 Q7.2 10 3.6 10 Q0 10 0 5 Q0 0 3.6 0 Q7.2 0 7.2 5"},
    {'b', 7.4, "M0 14.5 L0 0 M0 5 Q0 10 3.7 10 Q7.4 10 7.4 5 Q7.4 0 3.7 0 Q0 0 0 5"},
    {'c', 6.6, "M6.6 7.8 Q5.8 10 3.7 10 Q0 10 0 5 Q0 0 3.7 0 Q5.8 0 6.6 2.2"},
    {'d', 7.4, "M7.4 14.5 L7.4 0 M7.4 5 Q7.4 10 3.7 10 Q0 10 0 5 Q0 0 3.7 0 Q7.4 0 7.4 5"},
    {'e', 7.2, "M0 5.2 L7.2 5.2 Q7.2 10 3.7 10 Q0 10 0 5 Q0 0 3.8 0 Q5.9 0 6.9 2"},
    {'f', 4.4, "M4.6 14.2 Q1.9 14.8 1.9 11.6 L1.9 0 M0 10 L4.4 10"},
    {'g', 7.4, "M7.4 10 L7.4 -0.6 Q7.4 -4.4 3.7 -4.4 Q1.2 -4.4 0.3 -2.8 M7.4 5 Q7.4 10 3.7 10 Q0 10 0 5 Q0 0 3.7 0 Q7.4 0 7.4 5"},
    {'h', 6.8, "M0 14.5 L0 0 M0 6 Q0 10 3.5 10 Q6.8 10 6.8 6.2 L6.8 0"},
    {'i', 0, "M0 10 L0 0 M0 13.7 L0 14"},
    {'j', 1.8, "M1.8 10 L1.8 -1.5 Q1.8 -4.4 -0.8 -4.2 M1.8 13.7 L1.8 14"},
    {'k', 6.6, "M0 14.5 L0 0 M6.2 10 L0 4 M2.4 6.3 L6.6 0"},
    {'l', 1.4, "M0 14.5 L0 2 Q0 0 1.6 0.1"},
    {'m', 11.6, "M0 10 L0 0 M0 6 Q0 10 3 10 Q5.8 10 5.8 6.4 L5.8 0 M5.8 6 Q5.8 10 8.8 10 Q11.6 10 11.6 6.4 L11.6 0"},
    {'n', 6.8, "M0 10 L0 0 M0 6 Q0 10 3.5 10 Q6.8 10 6.8 6.2 L6.8 0"},
    {'o', 7.6, "M3.8 0 Q0 0 0 5 Q0 10 3.8 10 Q7.6 10 7.6 5 Q7.6 0 3.8 0"},
    {'p', 7.4, "M0 10 L0 -4.4 M0 5 Q0 10 3.7 10 Q7.4 10 7.4 5 Q7.4 0 3.7 0 Q0 0 0 5"},
    {'q', 7.4, "M7.4 10 L7.4 -4.4 M7.4 5 Q7.4 10 3.7 10 Q0 10 0 5 Q0 0 3.7 0 Q7.4 0 7.4 5"},
    {'r', 4, "M0 10 L0 0 M0 5.6 Q0 10 4.2 9.8"},
    {'s', 6.2, "M5.9 8.3 Q5.2 10 3.1 10 Q0.4 10 0.4 7.6 Q0.4 5.8 3.1 5.2 Q6.2 4.6 6.2 2.5 Q6.2 0 3.1 0 Q0.8 0 0 1.9"},
    {'t', 4.3, "M1.9 13 L1.9 3 Q1.9 -0.2 4.4 0.1 M0 10 L4.3 10"},
    {'u', 6.8, "M0 10 L0 3.8 Q0 0 3.3 0 Q6.8 0 6.8 4 M6.8 10 L6.8 0"},
    {'v', 7, "M0 10 L3.5 0 7 10"},
    {'w', 10.4, "M0 10 L2.6 0 5.2 9 7.8 0 10.4 10"},
    {'x', 6.8, "M0 0 L6.8 10 M0 10 L6.8 0"},
    {'y', 7, "M0 10 L3.5 0.4 M7 10 L3.1 -2.2 Q2.2 -4.6 0 -4.2"},
    {'z', 6.4, "M0 10 L6.4 10 0 0 6.4 0"},
    {'{', 3.6, "M3.6 15.5 Q1.4 15.5 1.4 12.5 L1.4 9 Q1.4 6 0 6 Q1.4 6 1.4 3 L1.4 -0.5 Q1.4 -3.5 3.6 -3.5"},
    {'|', 0, "M0 15.5 L0 -3.5"},
    {'}', 3.6, "M0 15.5 Q2.2 15.5 2.2 12.5 L2.2 9 Q2.2 6 3.6 6 Q2.2 6 2.2 3 L2.2 -0.5 Q2.2 -3.5 0 -3.5"},
    {'~', 8, "M0 5 Q0.6 7.4 2.4 7.2 Q3.4 7 4.6 5.9 Q5.6 5 6.4 5.2 Q7.6 5.4 8 7.2"},
};
// clang-format on
constexpr Glyph kUnknown = {'\0', 7, "M0 0 L0 12 7 12 7 0 0 0"};

constexpr double kUnitsPerSize = 19.6;  // capitals are 0.71 of the font's size
constexpr double kBearing = 1.45;       // beside each letter, in units
constexpr int kCurveSteps = 8;

constexpr Glyph kMiddleDot = {'\0', 0, "M0 5.6 L0 5.9"};

/// Signs beyond ASCII that are common in titles, drawn as their nearest kin.
const Glyph& glyph_of(char32_t character) {
  switch (character) {
    case U'\u00a0':
      character = U' ';
      break;
    case U'\u00b7':
      return kMiddleDot;
    case U'\u00d7':
      character = U'x';
      break;
    case U'\u2010':
    case U'\u2011':
    case U'\u2013':
    case U'\u2014':
    case U'\u2212':
      character = U'-';
      break;
    case U'\u2018':
    case U'\u2019':
      character = U'\'';
      break;
    case U'\u201c':
    case U'\u201d':
      character = U'"';
      break;
    default:
      break;
  }
  if (character >= U' ' && character <= U'~') return kGlyphs[character - U' '];
  return kUnknown;
}

/// The next character of UTF-8, which is taken off; bytes that are none count singly.
char32_t next_character(std::string_view& text) {
  utf8proc_int32_t code = -1;
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &code);
  text.remove_prefix(length > 0 ? static_cast<size_t>(length) : 1);
  return length > 0 ? static_cast<char32_t>(code) : U'\ufffd';
}

/// Reads the numbers and commands of a glyph's path.
class GlyphPen {
 public:
  GlyphPen(double left, double scale, std::vector<std::vector<Point>>& strokes)
      : left_(left), scale_(scale), strokes_(strokes) {}

  void draw(std::string_view path) {
    rest_ = path;
    char command = 'M';
    while (skip_blanks()) {
      if (rest_.front() >= 'A') {
        command = rest_.front();
        rest_.remove_prefix(1);
      }
      if (command == 'Q') {
        const Point control = place(), end = place();
        curve(control, end);
      } else {
        if (command == 'M') strokes_.emplace_back();
        strokes_.back().push_back(place());
      }
    }
  }

 private:
  bool skip_blanks() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
    return !rest_.empty();
  }
  double number() {
    skip_blanks();
    double value = 0;
    const char* end = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value).ptr;
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    return value;
  }
  Point place() {
    const double x = number(), y = number();
    return {left_ + x * scale_, -y * scale_};
  }
  void curve(Point control, Point end) {
    const Point start = strokes_.back().back();
    for (int i = 1; i <= kCurveSteps; ++i) {
      const double t = static_cast<double>(i) / kCurveSteps, s = 1 - t;
      strokes_.back().push_back({s * s * start.x + 2 * s * t * control.x + t * t * end.x,
                                 s * s * start.y + 2 * s * t * control.y + t * t * end.y});
    }
  }

  double left_, scale_;
  std::vector<std::vector<Point>>& strokes_;
  std::string_view rest_;
};

}  // namespace

StrokedText stroked_text(std::string_view utf8, double size) {
  static_assert(std::size(kGlyphs) == '~' - ' ' + 1);
  const double scale = size / kUnitsPerSize;
  StrokedText text;
  while (!utf8.empty()) {
    const Glyph& glyph = glyph_of(next_character(utf8));
    GlyphPen(text.width + kBearing * scale, scale, text.strokes).draw(glyph.path);
    text.width += (glyph.width + 2 * kBearing) * scale;
  }
  return text;
}

}  // namespace isogrid
