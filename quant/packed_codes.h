#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace isogrid {

/// Bytes of a row of codes: code c lies at bit c * bits, little end first; 2 or 4 bits.
constexpr int64_t packed_bytes(int64_t columns, int bits) { return (columns * bits + 7) / 8; }

/// Codes uint8 [rows, columns] -> uint8 [rows, packed_bytes]; unused bits are zero.
at::Tensor pack_codes(const at::Tensor& codes, int bits);
at::Tensor unpack_codes(const at::Tensor& packed, int bits, int64_t columns);

/// The bits of codes for a table of `values` entries: 4 -> 2, 16 -> 4; others are refused (65).
int code_bits(int64_t values);

}  // namespace isogrid
