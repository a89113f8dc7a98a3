#pragma once
#include <cstddef>
#include <cstdint>

namespace isogrid::grids {

/// Both directions of one block type, over raw memory. Every bit is defined: the same input gives
/// the same bytes on every processor and with any number of threads.
struct BlockCodec {
  /// `rows` rows of `columns` values (whole blocks) -> their blocks, row after row. `importance`,
  /// one weight for each column, shifts the choice of scales and codes; null: none is known.
  void (*encode)(const float* values, const float* importance, int64_t rows, int64_t columns,
                 std::byte* blocks);
  /// `count` blocks -> their values.
  void (*decode)(const std::byte* blocks, int64_t count, float* values);
  /// The nearest codes for `count` blocks of values under the scales the blocks already have. Null:
  /// the type has no scales.
  void (*recode)(const float* values, int64_t count, std::byte* blocks) = nullptr;
};

#define ISOGRID_DECLARE_CODECS(isa)                     \
  namespace isa {                                       \
  extern const BlockCodec f32, f16, bf16;               \
  extern const BlockCodec q4_0, q4_1, q5_0, q5_1, q8_0; \
  extern const BlockCodec q2_k, q3_k, q4_k, q5_k, q6_k; \
  extern const BlockCodec iq4_nl, iq4_xs, mxfp4, nvfp4; \
  extern const BlockCodec tq1_0, tq2_0, q1_0, q2_0;     \
  }
ISOGRID_DECLARE_CODECS(baseline)
#if defined(__x86_64__)
ISOGRID_DECLARE_CODECS(avx2)
ISOGRID_DECLARE_CODECS(avx512)
#endif
#undef ISOGRID_DECLARE_CODECS

}  // namespace isogrid::grids
