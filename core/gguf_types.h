#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace isogrid {

/// What a tensor in a GGUF file is made of: rows are whole blocks of `block` values along the
/// fastest dimension. How blocks decode is told by quant/grids/codecs.h.
struct GgufType {
  std::string_view name;  // "Q4_K"
  uint32_t id;            // in the file
  uint32_t block;         // values
  uint32_t bytes;         // of one block

  /// Bytes of a row; nothing when it is not whole blocks or does not fit 63 bits.
  std::optional<uint64_t> row_bytes(uint64_t columns) const;
};

/// The one table of types and their sizes.
std::span<const GgufType> gguf_types();
const GgufType* find_gguf_type(uint32_t id);            // null: not known
const GgufType* find_gguf_type(std::string_view name);  // any case; null: not known
const GgufType& gguf_type(std::string_view name);       // must be there

}  // namespace isogrid
