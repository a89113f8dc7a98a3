// Compiled once per instruction set, with ISOGRID_ISA naming the namespace, and without contraction
// of products and sums: every operation rounds as written.
#include "kernels/four_bit.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "kernels/nibble_vector.inc"

inline float scale_of(const FourBitTensor& tensor, int64_t block) {
  if (tensor.scales != nullptr) return tensor.scales[block];
  const float part =
      tensor.scale_map[tensor.scale_codes[block]] * tensor.group_scales[block / tensor.group];
  return part + tensor.offset;
}

/// The sixteen products of a block are made once, so the rounding costs nothing per element.
template <typename T>
void dequantise_as(const FourBitTensor& tensor, T* to, int64_t first, int64_t last) {
  const Lanes values = load(tensor.values);
  alignas(64) T table[kLanes];
  for (int64_t from = first; from < last;) {
    const int64_t block = from / tensor.block;
    const int64_t end = (block + 1) * tensor.block < last ? (block + 1) * tensor.block : last;
    store(table, values * scale_of(tensor, block));
    look_up_nibbles<NibbleOrder::high_first>(tensor.codes, from, end, bits_of(table), bits_of(to));
    to += end - from;
    from = end;
  }
}

void dequantise(const FourBitTensor& tensor, Element element, void* to, int64_t first,
                int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(element, dequantise_as(tensor, static_cast<T*>(to), first, last))
}

/// The midpoints between neighbouring values in ascending order, and the codes in that order.
struct Thresholds {
  float midpoints[15];
  uint8_t codes[16];
};

Thresholds thresholds_of(FourBitCode code) {
  const float* values = four_bit_values(code);
  // FP4's order, the two zeros as a stable sort leaves them.
  constexpr uint8_t kFp4Order[16] = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3};
  Thresholds result;
  for (int i = 0; i < 16; ++i)
    result.codes[i] = code == FourBitCode::fp4 ? kFp4Order[i] : static_cast<uint8_t>(i);
  for (int i = 0; i < 15; ++i)
    result.midpoints[i] = (values[result.codes[i]] + values[result.codes[i + 1]]) / 2.0f;
  return result;
}

/// A NaN lies below no midpoint, so it takes the last code.
inline IntLanes places(Lanes u, const Thresholds& thresholds) {
  IntLanes place = IntLanes{} + 15;
  for (const float midpoint : thresholds.midpoints) place += splat(midpoint) >= u;
  return place;
}

template <typename T>
float largest_magnitude(const T* from, int64_t count) {
  Lanes largest{};
  for_lanes(count, [&](int64_t i, int64_t lanes) {
    const Lanes x = load(from + i, lanes), magnitude = x < 0.0f ? -x : x;
    // Once a NaN is in, no comparison takes it out again.
    largest = magnitude <= largest || largest != largest ? largest : magnitude;
  });
  float result = 0.0f;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    if (!(largest[lane] <= result) && result == result) result = largest[lane];
  return result;
}

template <typename T>
void quantise_as(const Thresholds& thresholds, const T* from, int64_t count, int64_t block,
                 uint8_t* codes, float* scales, int64_t first, int64_t last) {
  constexpr float kSmallest = 1e-38f;
  for (int64_t b = first; b < last; ++b) {
    const int64_t begin = b * block, size = count - begin < block ? count - begin : block;
    const bool is_short = size < block;
    const float found = largest_magnitude(from + begin, size);
    const float scale = found < kSmallest ? kSmallest : found;
    // The short block keeps the raised scale and divides; the others multiply.
    scales[b] = is_short ? scale : found;
    const float reciprocal = 1.0f / scale;
    for_lanes(size, [&](int64_t i, int64_t lanes) {
      const Lanes x = load(from + begin + i, lanes);
      const IntLanes place = places(is_short ? x / scale : x * reciprocal, thresholds);
      uint8_t* to = codes + (begin + i) / 2;
      for (int64_t pair = 0; pair < (lanes + 1) / 2; ++pair)
        to[pair] = static_cast<uint8_t>(thresholds.codes[place[2 * pair]] << 4 |
                                        thresholds.codes[place[2 * pair + 1]]);
    });
  }
}

void quantise(FourBitCode code, Element element, const void* from, int64_t count, int64_t block,
              uint8_t* codes, float* scales, int64_t first, int64_t last) {
  const Thresholds thresholds = thresholds_of(code);
  ISOGRID_BY_ANY_ELEMENT(element, quantise_as(thresholds, static_cast<const T*>(from), count, block,
                                              codes, scales, first, last))
}

}  // namespace

extern const FourBitKernels four_bit_table;
const FourBitKernels four_bit_table = {dequantise, quantise};

}  // namespace isogrid::kernels::ISOGRID_ISA
