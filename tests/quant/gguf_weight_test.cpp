#include "quant/gguf_weight.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

at::Tensor blocks_of(const GgufType& type, const at::Tensor& values) {
  const int64_t rows = values.size(0), columns = values.size(1);
  at::Tensor blocks = at::empty({rows, columns / type.block * type.bytes}, at::kByte);
  grids::codec_of(type).encode(values.const_data_ptr<float>(), nullptr, rows, columns,
                               static_cast<std::byte*>(blocks.mutable_data_ptr()));
  return blocks;
}

at::Tensor decoded(const GgufType& type, const at::Tensor& blocks, int64_t columns) {
  at::Tensor values = at::empty({blocks.size(0), columns}, at::kFloat);
  grids::codec_of(type).decode(static_cast<const std::byte*>(blocks.const_data_ptr()),
                               values.numel() / type.block, values.mutable_data_ptr<float>());
  return values;
}

// Q8_0 of 0..31 times 127/31 has the scale 31/127 in float16 and the codes 0, 4, 8, ...
TEST(GgufWeight, DecodesAHandWorkedRow) {
  const GgufType& type = gguf_type("Q8_0");
  at::Tensor blocks = at::empty({1, 34}, at::kByte);
  auto* bytes = blocks.mutable_data_ptr<uint8_t>();
  bytes[0] = 0x00;
  bytes[1] = 0x38;  // 0.5
  for (int i = 0; i < 32; ++i) bytes[2 + i] = static_cast<uint8_t>(i - 16);
  const at::Tensor row = GgufWeight(type, blocks, 32).rows(at::tensor({0L}), at::kFloat);
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(row[0][i].item<float>(), 0.5f * static_cast<float>(i - 16));
}

TEST(GgufWeight, ExpandsAnyRowsOfAnyTypeAsItsDecoderHasThem) {
  for (const grids::CodecRow& row : grids::codec_rows()) {
    const GgufType& type = gguf_type(row.name);
    const at::Tensor blocks = blocks_of(type, at::randn({11, 512}));
    const at::Tensor wanted = decoded(type, blocks, 512);
    const GgufWeight weight(type, blocks, 512);
    for (const at::ScalarType compute : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      at::Tensor out = at::empty({6, 512}, compute);
      weight.materialise(out, 3, 9, nullptr);
      EXPECT_TRUE(at::equal(out, wanted.slice(0, 3, 9).to(compute))) << row.name << compute;
    }
  }
}

TEST(GgufWeight, PutsAlternatingRowsOfHeadsIntoTheirHalves) {
  const GgufType& type = gguf_type("Q4_0");
  const at::Tensor blocks = blocks_of(type, at::randn({12, 64}));
  const at::Tensor stored = decoded(type, blocks, 64);
  // Two heads of six rows: 0 2 4 are the first half of the first head, 1 3 5 its second.
  const at::Tensor order = at::tensor({0L, 2L, 4L, 1L, 3L, 5L, 6L, 8L, 10L, 7L, 9L, 11L});
  const GgufWeight weight(type, blocks, 64, /*alternating_heads=*/2);
  EXPECT_TRUE(at::equal(whole_weight(weight, at::kFloat, at::kCPU), stored.index_select(0, order)));
  const at::Tensor some = at::tensor({7L, 0L, 7L});
  EXPECT_TRUE(at::equal(weight.rows(some, at::kFloat),
                        stored.index_select(0, order).index_select(0, some)));
}

TEST(GgufWeight, SumsALowRankChangeInFullPrecision) {
  const GgufType& type = gguf_type("Q4_0");
  const at::Tensor blocks = blocks_of(type, at::randn({8, 32}));
  const GgufWeight weight(type, blocks, 32);
  const LowRank change{at::randn({2, 32}), at::randn({8, 2}), 0.5};
  at::Tensor out = at::empty({8, 32}, at::kFloat);
  weight.materialise(out, 0, 8, &change);
  const at::Tensor wanted = decoded(type, blocks, 32) + change.b.matmul(change.a) * 0.5;
  EXPECT_TRUE(at::allclose(out, wanted, 1e-6, 1e-6));
}

}  // namespace
}  // namespace isogrid
