#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/gguf_types.h"
#include "kernels/cpu_features.h"
#include "quant/grids/block_codec.h"

namespace isogrid::grids {

/// The one table of quantisers and decoders. A new grid is its own files and one row.
struct CodecRow {
  std::string_view name;        // of a row of gguf_types()
  int16_t scale_at[2];          // offsets of the float16 scales in a block; -1: none
  const BlockCodec* by_isa[3];  // baseline, AVX2, AVX-512
};
std::span<const CodecRow> codec_rows();

/// Null: the size of the type is known, its values are not.
const CodecRow* find_codecs(const GgufType& type);

/// The functions for this processor; a type without them is refused (65).
const BlockCodec& codec_of(const GgufType& type);
const BlockCodec& codec_of(const GgufType& type, kernels::Isa isa);

/// The first of `count` blocks whose float16 scale is infinite or no number; -1: none.
int64_t first_broken_block(const GgufType& type, const std::byte* blocks, int64_t count);

}  // namespace isogrid::grids
