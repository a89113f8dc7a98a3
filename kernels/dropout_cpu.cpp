// Compiled once per instruction set, with ISOGRID_ISA naming the namespace, and without joined
// multiplications and additions: the bits must not depend on the processor.
#include "kernels/dropout.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "kernels/philox.inc"

constexpr int64_t kWordsPerDraw = 32;

/// body(column, 24 random bits of each lane, lanes) along one row.
template <typename Body>
__attribute__((always_inline)) inline void draw_row(const TokenKey& key, int64_t columns,
                                                    Body body) {
  alignas(64) uint32_t words[kWordsPerDraw];
  for (int64_t start = 0; start < columns; start += kWordsPerDraw) {
    philox_words(key.words, static_cast<uint64_t>(start / 4), words);
    for (int64_t c = start; c < columns && c < start + kWordsPerDraw; c += kLanes) {
      const WordLanes bits = *reinterpret_cast<const WordLanes*>(words + (c - start)) >> 8;
      body(c, reinterpret_cast<IntLanes>(bits), columns - c < kLanes ? columns - c : kLanes);
    }
  }
}

template <typename T>
void drop_rows(const T* x, T* y, const TokenKey* keys, double probability, int64_t first,
               int64_t last, int64_t columns) {
  // uniform >= probability, in whole multiples of 2^-24.
  const double steps = probability * 0x1p24;
  int32_t lowest = static_cast<int32_t>(steps);
  lowest += static_cast<double>(lowest) < steps ? 1 : 0;
  const float scale = probability < 1.0 ? static_cast<float>(1.0 / (1.0 - probability)) : 0.0f;
  for (int64_t row = first; row < last; ++row)
    draw_row(keys[row], columns, [&](int64_t c, IntLanes bits, int64_t n) {
      const WordLanes kept = reinterpret_cast<WordLanes>(bits >= lowest);
      const Lanes scaled = load(x + row * columns + c, n) * scale;
      store(y + row * columns + c,
            reinterpret_cast<Lanes>(reinterpret_cast<WordLanes>(scaled) & kept), n);
    });
}

template <typename T>
void add_noise_rows(const T* x, T* y, const TokenKey* keys, const float* amplitudes, int64_t first,
                    int64_t last, int64_t columns) {
  for (int64_t row = first; row < last; ++row) {
    const float step = amplitudes[row] * 0x1p-23f;
    draw_row(keys[row], columns, [&](int64_t c, IntLanes bits, int64_t n) {
      const Lanes noise = __builtin_convertvector(bits - (1 << 23), Lanes) * step;
      store(y + row * columns + c, load(x + row * columns + c, n) + noise, n);
    });
  }
}

void dropout(Element element, const void* x, void* y, const TokenKey* keys, double probability,
             int64_t first, int64_t last, int64_t columns) {
  ISOGRID_BY_ANY_ELEMENT(element, drop_rows(static_cast<const T*>(x), static_cast<T*>(y), keys,
                                            probability, first, last, columns))
}

void add_noise(Element element, const void* x, void* y, const TokenKey* keys,
               const float* amplitudes, int64_t first, int64_t last, int64_t columns) {
  ISOGRID_BY_ANY_ELEMENT(element, add_noise_rows(static_cast<const T*>(x), static_cast<T*>(y), keys,
                                                 amplitudes, first, last, columns))
}

}  // namespace

extern const DropoutKernels dropout_table;
const DropoutKernels dropout_table = {dropout, add_noise};

}  // namespace isogrid::kernels::ISOGRID_ISA
