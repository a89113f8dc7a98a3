#include "core/format.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace isogrid {
namespace {

std::string scaled(uint64_t value, double step, const std::array<std::string_view, 7>& units,
                   std::string_view ending) {
  size_t unit = 0;
  auto size = static_cast<double>(value);
  // 1023.96 KiB would print as 1024.0 KiB, so what rounds to a whole step goes one unit up.
  while (size >= step - 0.05 && unit + 1 < units.size()) {
    size /= step;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 ? "%.0f" : "%.1f", size);
  std::string result = text.data();
  if (!units[unit].empty() || !ending.empty()) result += " ";
  return result.append(units[unit]).append(ending);
}

}  // namespace

std::string human_bytes(uint64_t bytes) {
  return scaled(bytes, 1024, {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}, "B");
}

std::string with_commas(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, 1, ',');
  return text;
}

std::string human_count(uint64_t count) {
  return scaled(count, 1000, {"", "K", "M", "B", "T", "Qa", "Qi"}, "");
}

std::string human_seconds(double seconds) {
  std::array<char, 64> text{};
  const auto write = [&](const char* format, auto... values) {
    std::snprintf(text.data(), text.size(), format, values...);
    return std::string(text.data());
  };
  if (!(seconds < 1e9)) return "a long time";
  if (seconds < 9.95) return write("%.1f s", std::max(seconds, 0.0));
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  const auto minutes = static_cast<long long>(whole / 60), hours = minutes / 60;
  if (whole < 60) return write("%lld s", static_cast<long long>(whole));
  if (minutes < 60) return write("%lld min %02lld s", minutes, static_cast<long long>(whole % 60));
  if (hours < 24) return write("%lld h %02lld min", hours, minutes % 60);
  return write("%lld d %02lld h", hours / 24, hours % 24);
}

}  // namespace isogrid
