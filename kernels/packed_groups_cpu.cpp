// Compiled once per instruction set, with ISOGRID_ISA naming the namespace, and without contraction
// of products and sums: every operation rounds as written.
#include "kernels/intrinsics.h"
#include "kernels/packed_groups.h"

namespace isogrid::kernels::ISOGRID_ISA {
namespace {

#include "kernels/cpu_vector.inc"
#include "kernels/nibble_vector.inc"

template <typename S, typename T>
struct SameType {
  static constexpr bool value = false;
};
template <typename T>
struct SameType<T, T> {
  static constexpr bool value = true;
};

/// Rounded to the scale's type S, where `T` is another.
template <typename S, typename T>
inline Lanes rounded(Lanes value) {
  if constexpr (SameType<S, float>::value || SameType<S, T>::value) {
    return value;
  } else {
    S narrow[kLanes];
    store(narrow, value);
    return load(narrow);
  }
}

/// Codes [column, column + count) of a row, column a multiple of sixteen.
template <int bits>
inline Lanes load_stream(const uint8_t* row, int64_t column, int64_t count) {
  const uint8_t* from = row + column / 8 * bits;
  const auto bytes = static_cast<size_t>((count * bits + 7) / 8);
  if constexpr (bits == 8) {
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
    const WordLanes words = {low,  low,  low,  low,  low,  low,  low,  low,
                             high, high, high, high, high, high, high, high};
    const WordLanes places = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
    const WordLanes codes = (words >> (places * bits)) & ((1u << bits) - 1);
    return __builtin_convertvector(reinterpret_cast<IntLanes>(codes), Lanes);
  }
}

inline int64_t group_at(const PackedGroups& w, int64_t column) {
  return w.group_of != nullptr ? w.group_of[column] : column / w.group_size;
}

inline float zero_at(const PackedGroups& w, int64_t row, int64_t group) {
  return static_cast<float>(w.zeros != nullptr ? w.zeros[row * w.groups + group] : w.zero);
}

/// Any grouping, sixteen columns at a time.
template <int bits, typename S, typename T>
void stream_row(const PackedGroups& w, int64_t row, T* to) {
  const uint8_t* codes = w.codes + row * w.row_bytes;
  const S* scales = static_cast<const S*>(w.scales) + row * w.groups;
  for_lanes(w.columns, [&](int64_t c, int64_t lanes) {
    Lanes scale{}, zero{};
    const int64_t group = group_at(w, c);
    if (w.group_of == nullptr && group_at(w, c + lanes - 1) == group) {
      scale = splat(load_one(scales + group));
      zero = splat(zero_at(w, row, group));
    } else {
      for (int64_t i = 0; i < lanes; ++i) {
        scale[i] = load_one(scales + group_at(w, c + i));
        zero[i] = zero_at(w, row, group_at(w, c + i));
      }
    }
    const Lanes value = (load_stream<bits>(codes, c, lanes) - zero) * scale;
    store(to + c, rounded<S, T>(value), lanes);
  });
}

/// Four bits in plain groups: the sixteen products of a group are made once.
template <typename S, typename T>
void nibble_row(const PackedGroups& w, int64_t row, T* to) {
  const Lanes codes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const uint8_t* packed = w.codes + row * w.row_bytes;
  const S* scales = static_cast<const S*>(w.scales) + row * w.groups;
  alignas(64) T table[kLanes];
  for (int64_t group = 0; group < w.groups; ++group) {
    const int64_t begin = group * w.group_size;
    const int64_t end = begin + w.group_size < w.columns ? begin + w.group_size : w.columns;
    const Lanes product = (codes - zero_at(w, row, group)) * load_one(scales + group);
    store(table, rounded<S, T>(product));
    look_up_nibbles<NibbleOrder::low_first>(packed, begin, end, bits_of(table),
                                            bits_of(to + begin));
  }
}

template <typename S, typename T>
void dequantise_rows(const PackedGroups& w, T* to, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row, to += w.columns) switch (w.bits) {
      case 2:
        stream_row<2, S>(w, row, to);
        break;
      case 3:
        stream_row<3, S>(w, row, to);
        break;
      case 8:
        stream_row<8, S>(w, row, to);
        break;
      default:
        if (w.group_of == nullptr)
          nibble_row<S>(w, row, to);
        else
          stream_row<4, S>(w, row, to);
    }
}

template <typename T>
void dequantise_as(const PackedGroups& w, T* to, int64_t first, int64_t last) {
  switch (w.scale_type) {
    case Element::f32:
      return dequantise_rows<float>(w, to, first, last);
    case Element::bf16:
      return dequantise_rows<Bf16>(w, to, first, last);
    case Element::f16:
      return dequantise_rows<F16>(w, to, first, last);
  }
}

void dequantise(const PackedGroups& weight, Element element, void* to, int64_t first,
                int64_t last) {
  ISOGRID_BY_ANY_ELEMENT(element, dequantise_as(weight, static_cast<T*>(to), first, last))
}

}  // namespace

extern const PackedGroupKernels packed_group_table;
const PackedGroupKernels packed_group_table = {dequantise};

}  // namespace isogrid::kernels::ISOGRID_ISA
