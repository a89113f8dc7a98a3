// Compiled once per instruction set, with ISOGRID_ISA naming the namespace.
#include "kernels/lut.h"

#include "kernels/intrinsics.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/tile_product.inc"

// A tile of scales, or of gradients, stays in the first-level cache.
constexpr int64_t kTileColumns = 128, kExpandRows = 12, kGradientRows = 32;
static_assert(kLanes == kLutLanes);

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t whole_lanes(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

/// Sixteen codes that begin at a whole byte; `n` of them are there.
inline WordLanes load_codes(const uint8_t* from, int bits, int64_t n) {
  uint64_t word = 0;
  if (n == kLanes && bits == 4)
    __builtin_memcpy(&word, from, 8);
  else if (n == kLanes)
    __builtin_memcpy(&word, from, 4);
  else
    __builtin_memcpy(&word, from, static_cast<size_t>((n * bits + 7) / 8));
  const auto low = static_cast<uint32_t>(word), high = static_cast<uint32_t>(word >> 32);
  if (bits == 2) {
    const WordLanes shift{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
    return ((low - WordLanes{}) >> shift) & 3u;
  }
  const WordLanes words{low,  low,  low,  low,  low,  low,  low,  low,
                        high, high, high, high, high, high, high, high};
  const WordLanes shift{0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28};
  return (words >> shift) & 15u;
}

/// table[code] for tables of up to sixteen values.
struct Table {
  Lanes values{};

  Table(const float* from, int bits) {
    for (int i = 0; i < (1 << bits); ++i) values[i] = from[i];
  }
  Lanes at(WordLanes codes) const {
#if defined(__AVX512F__)
    return reinterpret_cast<Lanes>(
        _mm512_permutexvar_ps(reinterpret_cast<__m512i>(codes), reinterpret_cast<__m512>(values)));
#elif defined(__AVX2__)
    Lanes picked;
    const auto* table = reinterpret_cast<const __m256_u*>(&values);
    for (int i = 0; i < 2; ++i) {
      const __m256i code = reinterpret_cast<const __m256i_u*>(&codes)[i];
      const __m256 low = _mm256_permutevar8x32_ps(table[0], code);
      const __m256 high = _mm256_permutevar8x32_ps(table[1], code);
      const __m256i upper = _mm256_slli_epi32(code, 28);  // bit 3 becomes the sign
      reinterpret_cast<__m256_u*>(&picked)[i] =
          _mm256_blendv_ps(low, high, _mm256_castsi256_ps(upper));
    }
    return picked;
#else
    Lanes picked;
    for (int i = 0; i < kLanes; ++i) picked[i] = values[codes[i]];
    return picked;
#endif
  }
};

inline const uint8_t* codes_at(const LutWeight& w, int64_t row, int64_t column) {
  return w.codes + row * w.code_bytes + column * w.bits / 8;
}

/// Scales of a tile, before the lift: [rows][kTileColumns].
inline void scale_tile(const LutWeight& w, int64_t row, int64_t rows, int64_t column,
                       int64_t columns, float* to) {
  product<FloatWords>({w.left + row * w.rank, w.rank, 1}, w.right + column, whole_lanes(w.columns),
                      rows, w.rank, columns, to, kTileColumns,
                      /*add=*/false);
}

template <typename T>
void expand_rows(const LutWeight& w, T* out, int64_t first, int64_t last) {
  alignas(64) float scales[kExpandRows * kTileColumns];
  const Table table(w.table, w.bits);
  const Lanes lowest = splat_word(w.lowest);
  for (int64_t row = first; row < last; row += kExpandRows) {
    const int64_t rows = smaller(kExpandRows, last - row);
    for (int64_t column = 0; column < w.columns; column += kTileColumns) {
      const int64_t columns = smaller(kTileColumns, w.columns - column);
      scale_tile(w, row, rows, column, columns, scales);
      for (int64_t r = 0; r < rows; ++r) {
        const uint8_t* codes = codes_at(w, row + r, column);
        T* to = out + (row + r - first) * w.columns + column;
        for_lanes(columns, [&](int64_t c, int64_t n) {
          const Lanes scale = load(scales + r * kTileColumns + c);
          const Lanes lifted = scale > lowest ? scale : lowest;
          store(to + c, table.at(load_codes(codes + c * w.bits / 8, w.bits, n)) * lifted, n);
        });
      }
    }
  }
}

/// Sums of dL/dW * scale over the places of each code.
struct TableSums {
  Lanes sums[16] = {};

  void add(WordLanes codes, Lanes value, int count) {
    for (int j = 0; j < count; ++j) {
      const IntLanes here = codes == static_cast<uint32_t>(j);
      sums[j] += reinterpret_cast<Lanes>(reinterpret_cast<WordLanes>(value) &
                                         reinterpret_cast<WordLanes>(here));
    }
  }
};

/// dL/dS of a tile, zero beyond its columns; where the scales are lifted it is zero. `scales` is
/// needed for that and for the table's sums, else null.
template <typename T>
void gradient_tile(const LutWeight& w, const Table& table, const T* d_weight, int64_t row,
                   int64_t rows, int64_t column, int64_t columns, const float* scales,
                   TableSums* sums, float* to) {
  const Lanes lowest = splat_word(w.lowest);
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* codes = codes_at(w, row + r, column);
    const T* d = d_weight + (row + r) * w.columns + column;
    for_lanes(columns, [&](int64_t c, int64_t n) {
      const WordLanes code = load_codes(codes + c * w.bits / 8, w.bits, n);
      const Lanes gradient = load(d + c, n);
      Lanes d_scale = gradient * table.at(code);
      if (scales != nullptr) {
        const Lanes scale = load(scales + r * kTileColumns + c);
        const IntLanes free = scale > lowest;
        d_scale = reinterpret_cast<Lanes>(reinterpret_cast<WordLanes>(d_scale) &
                                          reinterpret_cast<WordLanes>(free));
        if (sums != nullptr) sums->add(code, gradient * (free ? scale : lowest), 1 << w.bits);
      }
      store(to + r * kTileColumns + c, d_scale);
    });
  }
}

int64_t gradient_scratch(int64_t rank) {
  return 2 * kGradientRows * kTileColumns + kGradientRows * whole_lanes(rank);
}

template <typename T>
void gradient_rows(const LutWeight& w, const float* right_turned, const T* d_weight, int64_t first,
                   int64_t last, const LutGradients& to, float* scratch) {
  float* scales = scratch;
  float* d_scales = scales + kGradientRows * kTileColumns;
  float* d_left = d_scales + kGradientRows * kTileColumns;
  const int64_t wide_rank = whole_lanes(w.rank), wide = whole_lanes(w.columns);
  const bool needs_scales = to.d_table != nullptr || w.lowest > -__builtin_inff();
  const Table table(w.table, w.bits);
  TableSums sums;
  for (int64_t row = first; row < last; row += kGradientRows) {
    const int64_t rows = smaller(kGradientRows, last - row);
    for (int64_t column = 0; column < w.columns; column += kTileColumns) {
      const int64_t columns = smaller(kTileColumns, w.columns - column);
      if (needs_scales) scale_tile(w, row, rows, column, columns, scales);
      gradient_tile(w, table, d_weight, row, rows, column, columns, needs_scales ? scales : nullptr,
                    to.d_table != nullptr ? &sums : nullptr, d_scales);
      product<FloatWords>({w.left + row * w.rank, 1, w.rank}, d_scales, kTileColumns, w.rank, rows,
                          columns, to.d_right + column, wide, /*add=*/true);
      product<FloatWords>({d_scales, kTileColumns, 1}, right_turned + column * wide_rank, wide_rank,
                          rows, columns, w.rank, d_left, wide_rank, /*add=*/column > 0);
    }
    for (int64_t r = 0; r < rows; ++r)
      for_lanes(w.rank, [&](int64_t k, int64_t n) {
        store(to.d_left + (row + r) * w.rank + k, load(d_left + r * wide_rank + k), n);
      });
  }
  if (to.d_table == nullptr) return;
  for (int j = 0; j < (1 << w.bits); ++j) to.d_table[j] += sum(sums.sums[j]);
}

void expand(const LutWeight& w, Element element, void* out, int64_t first, int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(element, expand_rows(w, static_cast<T*>(out), first, last))
}

void gradients(const LutWeight& w, const float* right_turned, Element element, const void* d_weight,
               int64_t first, int64_t last, const LutGradients& to, float* scratch) {
  ISOGRID_BY_ANY_ELEMENT(element, gradient_rows(w, right_turned, static_cast<const T*>(d_weight),
                                                first, last, to, scratch))
}

}  // namespace

extern const LutKernels lut_table;
const LutKernels lut_table = {expand, gradients, gradient_scratch};

}  // namespace isogrid::kernels::ISOGRID_ISA
