#include "export/gguf_trained.h"

#include <ATen/ops/empty.h>
#include <c10/util/Half.h>

#include <cstring>
#include <vector>

#include "core/error.h"
#include "export/balanced_codes.h"
#include "quant/gguf_grid.h"
#include "quant/grids/codecs.h"
#include "quant/integer_grid.h"
#include "quant/row_chunks.h"

namespace isogrid {
namespace {

constexpr std::string_view kGguf = "gguf:";
constexpr int64_t kBlock = 32;

/// How a block of 32 with one float16 scale keeps whole numbers from -8 to 7.
struct PlainBlock {
  std::string_view type;
  int32_t middle;        // added to a code
  bool has_minimum;      // a second float16: the value of code 0
  int first_byte, bits;  // of the codes
};
constexpr PlainBlock kPlainBlocks[] = {{"Q4_0", 8, false, 2, 4},
                                       {"Q4_1", 8, true, 4, 4},
                                       {"Q5_0", 16, false, 6, 5},
                                       {"Q8_0", 0, false, 2, 8}};

const PlainBlock* find_plain_block(std::string_view type) {
  for (const PlainBlock& block : kPlainBlocks)
    if (block.type == type) return &block;
  return nullptr;
}

/// Do blocks of 32 with a float16 scale hold what this grid holds?
bool fits_plain_blocks(const Grid& grid) {
  const auto* integers = dynamic_cast<const IntegerGrid*>(&grid);
  if (integers == nullptr) return false;
  const kernels::IntegerRule& rule = integers->rule();
  const bool half_scale = rule.rounding == kernels::ScaleRounding::half ||
                          rule.rounding == kernels::ScaleRounding::shared16;
  return rule.group > 0 && rule.group % kBlock == 0 && !rule.has_zero && half_scale &&
         rule.value_factor == 1.0f && rule.lowest >= -8 && rule.highest <= 7;
}

void put_half(std::byte* to, float value) {
  const c10::Half half = value;
  std::memcpy(to, &half.x, sizeof half.x);
}

void put_block(const PlainBlock& layout, const int8_t* codes, float scale, std::byte* to) {
  put_half(to, scale);
  if (layout.has_minimum) put_half(to + 2, -8.0f * scale);
  uint32_t fifth = 0;
  for (int64_t i = 0; i < kBlock; ++i) {
    const auto code = static_cast<uint32_t>(codes[i] + layout.middle);
    if (layout.bits == 8) {
      to[layout.first_byte + i] = static_cast<std::byte>(code);
      continue;
    }
    std::byte& pair = to[layout.first_byte + i % 16];
    pair = i < 16 ? static_cast<std::byte>(code & 15) : pair | static_cast<std::byte>(code << 4);
    fifth |= (code >> 4 & 1) << i;
  }
  if (layout.bits == 5) std::memcpy(to + 2, &fifth, sizeof fifth);
}

}  // namespace

bool holds_trained_codes(const TrainedCodes& codes, const GgufMix& mix) {
  if (codes.target == kBalancedTarget) return holds_balanced_codes(codes, mix);
  if (codes.target.starts_with(kGguf))
    return find_gguf_mix(codes.target.substr(kGguf.size())) == &mix;
  if (find_plain_block(mix.base) == nullptr) return false;
  for (const auto& [name, weight] : codes.weights)
    if (!fits_plain_blocks(*weight.grid)) return false;
  return true;
}

const GgufType& gguf_type_of(const Grid& grid, const GgufMix& mix) {
  const auto* blocks = dynamic_cast<const GgufGrid*>(&grid);
  return blocks != nullptr ? blocks->type() : gguf_type(mix.base);
}

at::Tensor gguf_blocks(const TrainedWeight& weight, const GgufType& type) {
  if (dynamic_cast<const GgufGrid*>(weight.grid.get()) != nullptr) return weight.records;
  const auto& grid = dynamic_cast<const IntegerGrid&>(*weight.grid);
  const PlainBlock& layout = *find_plain_block(type.name);
  const int64_t rows = weight.records.size(0), columns = weight.columns;
  const auto row_bytes = static_cast<int64_t>(*type.row_bytes(static_cast<uint64_t>(columns)));
  at::Tensor blocks = at::empty({rows, row_bytes}, at::kByte);
  const auto* from = static_cast<const std::byte*>(weight.records.const_data_ptr());
  auto* to = static_cast<std::byte*>(blocks.data_ptr());
  for_row_chunks(rows, columns, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const auto parts = grid.parts(from + row * weight.records.size(1), columns);
      for (int64_t i = 0; i < columns / kBlock; ++i)
        put_block(layout, parts.codes + i * kBlock, parts.scales[i * kBlock / grid.rule().group],
                  to + row * row_bytes + i * static_cast<int64_t>(type.bytes));
    }
  });
  return blocks;
}

void append_blocks(const at::Tensor& blocks, OutputFile& file) {
  const at::Tensor whole = blocks.contiguous();
  file.append({static_cast<const std::byte*>(whole.const_data_ptr()), whole.nbytes()});
}

void check_decodes_to(const GgufTensor& tensor, ByteSpan blocks, const at::Tensor& trained) {
  const int64_t rows = tensor.rows(), columns = tensor.columns();
  const auto row_bytes =
      static_cast<int64_t>(*tensor.type->row_bytes(static_cast<uint64_t>(columns)));
  const at::Tensor wanted = trained.contiguous();
  const float* values = wanted.const_data_ptr<float>();
  for_row_chunks(rows, columns, [&](int64_t first, int64_t last) {
    std::vector<float> decoded(static_cast<size_t>(columns));
    for (int64_t row = first; row < last; ++row) {
      grids::codec_of(*tensor.type)
          .decode(blocks.data() + row * row_bytes, columns / tensor.type->block, decoded.data());
      if (std::memcmp(decoded.data(), values + row * columns, decoded.size() * sizeof(float)) != 0)
        fail(ExitCode::internal, tensor.name, ": row ", row,
             " of the file does not decode to the trained weights");
    }
  });
}

}  // namespace isogrid
