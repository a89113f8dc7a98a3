#include "quant/packed_codes.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace isogrid {
namespace {

template <typename Body>
void for_code_rows(int64_t rows, int64_t columns, const Body& body) {
  at::parallel_for(0, rows, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, columns)),
                   [&](int64_t first, int64_t last) {
                     for (int64_t row = first; row < last; ++row) body(row);
                   });
}

}  // namespace

at::Tensor pack_codes(const at::Tensor& codes, int bits) {
  const at::Tensor from = codes.to(at::kCPU, at::kByte).contiguous();
  const int64_t rows = from.size(0), columns = from.size(1), bytes = packed_bytes(columns, bits);
  const int per_byte = 8 / bits;
  at::Tensor packed = at::zeros({rows, bytes}, from.options());
  for_code_rows(rows, columns, [&](int64_t row) {
    const uint8_t* code = from.const_data_ptr<uint8_t>() + row * columns;
    uint8_t* to = packed.mutable_data_ptr<uint8_t>() + row * bytes;
    for (int64_t c = 0; c < columns; ++c)
      to[c / per_byte] = static_cast<uint8_t>(to[c / per_byte] | code[c] << (c % per_byte * bits));
  });
  return packed.to(codes.device());
}

at::Tensor unpack_codes(const at::Tensor& packed, int bits, int64_t columns) {
  const at::Tensor from = packed.to(at::kCPU).contiguous();
  const int64_t rows = from.size(0), bytes = from.size(1);
  const int per_byte = 8 / bits, mask = (1 << bits) - 1;
  at::Tensor codes = at::empty({rows, columns}, from.options());
  for_code_rows(rows, columns, [&](int64_t row) {
    const uint8_t* byte = from.const_data_ptr<uint8_t>() + row * bytes;
    uint8_t* to = codes.mutable_data_ptr<uint8_t>() + row * columns;
    for (int64_t c = 0; c < columns; ++c)
      to[c] = static_cast<uint8_t>(byte[c / per_byte] >> (c % per_byte * bits) & mask);
  });
  return codes.to(packed.device());
}

int code_bits(int64_t values) {
  if (values == 4) return 2;
  if (values == 16) return 4;
  fail(ExitCode::refused_input, "a look-up table of ", values, " values: 4 and 16 are possible");
}

}  // namespace isogrid
