#pragma once
#include <string_view>
#include <vector>

#include "trainer/records/drawing.h"

namespace isogrid {

/// Letters as strokes of a round pen, for pictures that cannot ask a browser for a font. ASCII;
/// what is beyond it is a small box.
struct StrokedText {
  std::vector<std::vector<Point>> strokes;  // from the pen's start on the base line, y downwards
  double width = 0;
};

/// `size` is what CSS calls font-size.
StrokedText stroked_text(std::string_view utf8, double size);

}  // namespace isogrid
