// Compiled once per instruction set, with ISOGRID_ISA naming the namespace, and without contraction
// of products and sums: every operation rounds as written.
#include "kernels/int8_rows.h"
#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"

typedef int8_t CodeLanes __attribute__((vector_size(16), aligned(1), may_alias));

inline Lanes load_codes(const int8_t* from, int64_t count) {
#if defined(__AVX512F__)  // the compiler widens in three steps
  if (count == kLanes)
    return reinterpret_cast<Lanes>(
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(*reinterpret_cast<const __m128i_u*>(from))));
#elif defined(__AVX2__)
  if (count == kLanes) {
    const __m128i bytes = *reinterpret_cast<const __m128i_u*>(from);
    Lanes lanes;
    auto* parts = reinterpret_cast<__m256_u*>(&lanes);
    parts[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
    parts[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
    return lanes;
  }
#endif
  CodeLanes codes{};
  if (count == kLanes)
    codes = *reinterpret_cast<const CodeLanes*>(from);
  else
    __builtin_memcpy(&codes, from, static_cast<size_t>(count));
  return __builtin_convertvector(__builtin_convertvector(codes, IntLanes), Lanes);
}
inline void store_codes(int8_t* to, Lanes value, int64_t count) {
  const Lanes magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Lanes whole = (value + magic) - magic;
  const CodeLanes codes =
      __builtin_convertvector(__builtin_convertvector(whole, IntLanes), CodeLanes);
  __builtin_memcpy(to, &codes, static_cast<size_t>(count));
}

template <typename T>
void dequantise_as(const int8_t* codes, const float* scales, T* to, int64_t first, int64_t last,
                   int64_t columns) {
  for (int64_t row = first; row < last; ++row) {
    const Lanes scale = splat(scales[row]);
    const int8_t* from = codes + row * columns;
    T* row_to = to + (row - first) * columns;
    for_lanes(columns, [&](int64_t c, int64_t lanes) {
      store(row_to + c, load_codes(from + c, lanes) * scale * (1.0f / 127.0f), lanes);
    });
  }
}

void dequantise(const int8_t* codes, const float* scales, Element element, void* to, int64_t first,
                int64_t last, int64_t columns) {
  ISOGRID_BY_ANY_ELEMENT(element,
                         dequantise_as(codes, scales, static_cast<T*>(to), first, last, columns))
}

template <typename T>
inline Lanes load_as_half(const T* from, int64_t count) {
  F16 halves[kLanes];
  store(halves, load(from, count));
  return load(halves);
}

template <typename T>
float largest_half(const T* from, int64_t columns) {
  Lanes largest{};
  for_lanes(columns, [&](int64_t c, int64_t lanes) {
    const Lanes x = load_as_half(from + c, lanes), magnitude = x < 0.0f ? -x : x;
    // Once a NaN is in, no comparison takes it out again.
    largest = magnitude <= largest || largest != largest ? largest : magnitude;
  });
  float result = 0.0f;
  for (int64_t lane = 0; lane < kLanes; ++lane)
    if (!(largest[lane] <= result) && result == result) result = largest[lane];
  return result;
}

template <typename T>
void quantise_as(const T* from, int8_t* codes, float* scales, int64_t first, int64_t last,
                 int64_t columns) {
  for (int64_t row = first; row < last; ++row) {
    const T* row_from = from + row * columns;
    int8_t* to = codes + row * columns;
    scales[row] = largest_half(row_from, columns);
    // Rounded twice, as the library has it: it decides ties.
    const float factor = scales[row] == 0.0f ? 0.0f : 1.0f / scales[row] * 127.0f;
    for_lanes(columns, [&](int64_t c, int64_t lanes) {
      store_codes(to + c, load_as_half(row_from + c, lanes) * factor, lanes);
    });
  }
}

void quantise(Element element, const void* from, int8_t* codes, float* scales, int64_t first,
              int64_t last, int64_t columns) {
  ISOGRID_BY_ANY_ELEMENT(
      element, quantise_as(static_cast<const T*>(from), codes, scales, first, last, columns))
}

}  // namespace

extern const Int8RowKernels int8_row_table;
const Int8RowKernels int8_row_table = {dequantise, quantise};

}  // namespace isogrid::kernels::ISOGRID_ISA
