#pragma once
#include <cstdint>

namespace isogrid::kernels {

/// The code book of an eight-bit moment, and the way to the nearest value of it.
struct MomentCode {
  float values[256];  // ascending
  /// The thresholds between neighbours as a search tree: node i has the children 2i and 2i + 1, and
  /// whoever goes right where he is larger stands at 256 + code after eight steps from node 1.
  float tree[256];
};

/// Of both signs, or of numbers that are not negative.
const MomentCode& moment_codes(bool with_sign);

}  // namespace isogrid::kernels
