// Compiled once per instruction set, with ISOGRID_ISA naming the namespace, and without contraction
// of products and sums: every operation rounds as written.
#include "kernels/intrinsics.h"
#include "kernels/packed_groups.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "kernels/nibble_vector.inc"

template <typename S>
inline Lanes rounded_to(Lanes value) {
  S narrow[kLanes];
  store(narrow, value);
  return load(narrow);
}

/// By way of `type`: products are rounded to the type of their scales first.
inline Lanes rounded(Lanes value, Element type) {
  if (type == Element::bf16) return rounded_to<Bf16>(value);
  if (type == Element::f16) return rounded_to<F16>(value);
  return value;
}

/// Codes [column, column + count) of a row, column a multiple of sixteen.
template <int bits>
inline Lanes load_stream(const uint8_t* row, int64_t column, int64_t count) {
  const uint8_t* from = row + column / 8 * bits;
  const auto bytes = static_cast<size_t>((count * bits + 7) / 8);
  if constexpr (bits == 8) {
#if defined(__AVX512F__)  // the compiler widens in three steps
    if (count == kLanes)
      return reinterpret_cast<Lanes>(
          _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(*reinterpret_cast<const __m128i_u*>(from))));
#endif
    typedef uint8_t ByteLanes __attribute__((vector_size(16), aligned(1), may_alias));
    ByteLanes codes{};
    __builtin_memcpy(&codes, from, bytes);
    return __builtin_convertvector(__builtin_convertvector(codes, IntLanes), Lanes);
  } else {
    uint64_t stream = 0;
    __builtin_memcpy(&stream, from, bytes);
    // Eight codes of at most four bits fit one word.
    const auto low = static_cast<uint32_t>(stream);
    const auto high = static_cast<uint32_t>(stream >> (8 * bits));
    // Spread by arithmetic: a list of sixteen would be put together one by one.
    const WordLanes upper = {0, 0, 0, 0, 0, 0, 0, 0, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    const WordLanes words = ((WordLanes{} + low) & ~upper) | ((WordLanes{} + high) & upper);
    const WordLanes places = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
    const WordLanes codes = (words >> (places * bits)) & ((1u << bits) - 1);
    return __builtin_convertvector(reinterpret_cast<IntLanes>(codes), Lanes);
  }
}

/// Scales and zero points of a row as floats. Rows with more groups than this go in pieces.
constexpr int64_t kMostGroups = 1024;
struct RowGroups {
  alignas(64) float scales[kMostGroups];
  alignas(64) float zeros[kMostGroups];
};

template <typename S>
void read_scales(const PackedGroups& w, int64_t at, int64_t count, float* to) {
  const S* scales = static_cast<const S*>(w.scales) + at;
  for_lanes(count, [&](int64_t g, int64_t n) { store(to + g, load(scales + g, n), n); });
}

void read_groups(const PackedGroups& w, int64_t row, int64_t first, int64_t count, RowGroups& to) {
  const int64_t at = row * w.groups + first;
  switch (w.scale_type) {
    case Element::f32:
      read_scales<float>(w, at, count, to.scales);
      break;
    case Element::bf16:
      read_scales<Bf16>(w, at, count, to.scales);
      break;
    case Element::f16:
      read_scales<F16>(w, at, count, to.scales);
      break;
  }
  const uint8_t* zeros = w.zeros == nullptr ? nullptr : w.zeros + row * w.groups + first;
  for (int64_t g = 0; g < count; ++g)
    to.zeros[g] = static_cast<float>(zeros == nullptr ? w.zero : zeros[g]);
}

inline float scale_at(const PackedGroups& w, int64_t row, int64_t group) {
  const int64_t at = row * w.groups + group;
  switch (w.scale_type) {
    case Element::bf16:
      return load_one(static_cast<const Bf16*>(w.scales) + at);
    case Element::f16:
      return load_one(static_cast<const F16*>(w.scales) + at);
    default:
      return static_cast<const float*>(w.scales)[at];
  }
}

inline float zero_at(const PackedGroups& w, int64_t row, int64_t group) {
  return static_cast<float>(w.zeros != nullptr ? w.zeros[row * w.groups + group] : w.zero);
}

/// The entries that sixteen columns pick.
inline Lanes gather(const float* table, const int32_t* picks, int64_t count) {
#if defined(__AVX512F__)
  if (count == kLanes)
    return reinterpret_cast<Lanes>(_mm512_i32gather_ps(_mm512_loadu_si512(picks), table, 4));
#endif
  Lanes lanes{};
  for (int64_t i = 0; i < count; ++i) lanes[i] = table[picks[i]];
  return lanes;
}

/// Groups of whole sixteens of columns: each scale is read once.
template <int bits, typename T>
void stream_groups(const PackedGroups& w, const uint8_t* codes, int64_t row, Element by, T* to) {
  RowGroups held;
  for (int64_t first = 0; first < w.groups; first += kMostGroups) {
    const int64_t count = w.groups - first < kMostGroups ? w.groups - first : kMostGroups;
    read_groups(w, row, first, count, held);
    for (int64_t g = 0; g < count; ++g) {
      const int64_t begin = (first + g) * w.group_size;
      const int64_t end = begin + w.group_size < w.columns ? begin + w.group_size : w.columns;
      const Lanes scale = splat(held.scales[g]), zero = splat(held.zeros[g]);
      for_lanes(end - begin, [&](int64_t c, int64_t n) {
        const Lanes value = (load_stream<bits>(codes, begin + c, n) - zero) * scale;
        store(to + begin + c, rounded(value, by), n);
      });
    }
  }
}

/// Any grouping, sixteen columns at a time.
template <int bits, typename T>
void stream_row(const PackedGroups& w, int64_t row, Element by, T* to) {
  const uint8_t* codes = w.codes + row * w.row_bytes;
  if (w.group_of == nullptr && (w.group_size % kLanes == 0 || w.groups == 1))
    return stream_groups<bits>(w, codes, row, by, to);
  RowGroups held;
  const bool fits = w.groups <= kMostGroups;
  if (fits) read_groups(w, row, 0, w.groups, held);
  for_lanes(w.columns, [&](int64_t c, int64_t n) {
    int32_t groups[kLanes];
    for (int64_t i = 0; i < n; ++i)
      groups[i] =
          w.group_of != nullptr ? w.group_of[c + i] : static_cast<int32_t>((c + i) / w.group_size);
    Lanes scale{}, zero{};
    if (fits) {
      scale = gather(held.scales, groups, n);
      zero = gather(held.zeros, groups, n);
    } else {
      for (int64_t i = 0; i < n; ++i) {
        scale[i] = scale_at(w, row, groups[i]);
        zero[i] = zero_at(w, row, groups[i]);
      }
    }
    const Lanes value = (load_stream<bits>(codes, c, n) - zero) * scale;
    store(to + c, rounded(value, by), n);
  });
}

/// Four bits in plain groups: the sixteen products of a group are made once.
template <typename T>
void nibble_row(const PackedGroups& w, int64_t row, Element by, T* to) {
  const Lanes codes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const uint8_t* packed = w.codes + row * w.row_bytes;
  alignas(64) T table[kLanes];
  for (int64_t group = 0; group < w.groups; ++group) {
    const int64_t begin = group * w.group_size;
    const int64_t end = begin + w.group_size < w.columns ? begin + w.group_size : w.columns;
    const Lanes product = (codes - zero_at(w, row, group)) * scale_at(w, row, group);
    store(table, rounded(product, by));
    look_up_nibbles<NibbleOrder::low_first>(packed, begin, end, bits_of(table),
                                            bits_of(to + begin));
  }
}

template <typename T>
void dequantise_rows(const PackedGroups& w, Element by, T* to, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row, to += w.columns) switch (w.bits) {
      case 2:
        stream_row<2>(w, row, by, to);
        break;
      case 3:
        stream_row<3>(w, row, by, to);
        break;
      case 8:
        stream_row<8>(w, row, by, to);
        break;
      default:
        if (w.group_of == nullptr)
          nibble_row(w, row, by, to);
        else
          stream_row<4>(w, row, by, to);
    }
}

void dequantise(const PackedGroups& weight, Element element, void* to, int64_t first,
                int64_t last) {
  const Element by = element == weight.scale_type ? Element::f32 : weight.scale_type;
  ISOGRID_BY_ANY_ELEMENT(element, dequantise_rows(weight, by, static_cast<T*>(to), first, last))
}

}  // namespace

extern const PackedGroupKernels packed_group_table;
const PackedGroupKernels packed_group_table = {dequantise};

}  // namespace isogrid::kernels::ISOGRID_ISA
