#include "quant/grids/codecs.h"

#include <algorithm>

#include "core/error.h"

namespace isogrid::grids {
namespace {

#if defined(__x86_64__)
#define ISOGRID_CODEC(name) \
  { &baseline::name, &avx2::name, &avx512::name }
#else
#define ISOGRID_CODEC(name) \
  { &baseline::name, &baseline::name, &baseline::name }
#endif

constexpr CodecRow kCodecs[] = {
    {"F32", {-1, -1}, ISOGRID_CODEC(f32)},      {"F16", {0, -1}, ISOGRID_CODEC(f16)},
    {"BF16", {-1, -1}, ISOGRID_CODEC(bf16)},    {"Q4_0", {0, -1}, ISOGRID_CODEC(q4_0)},
    {"Q4_1", {0, 2}, ISOGRID_CODEC(q4_1)},      {"Q5_0", {0, -1}, ISOGRID_CODEC(q5_0)},
    {"Q5_1", {0, 2}, ISOGRID_CODEC(q5_1)},      {"Q8_0", {0, -1}, ISOGRID_CODEC(q8_0)},
    {"Q2_K", {80, 82}, ISOGRID_CODEC(q2_k)},    {"Q3_K", {108, -1}, ISOGRID_CODEC(q3_k)},
    {"Q4_K", {0, 2}, ISOGRID_CODEC(q4_k)},      {"Q5_K", {0, 2}, ISOGRID_CODEC(q5_k)},
    {"Q6_K", {208, -1}, ISOGRID_CODEC(q6_k)},   {"IQ4_NL", {0, -1}, ISOGRID_CODEC(iq4_nl)},
    {"IQ4_XS", {0, -1}, ISOGRID_CODEC(iq4_xs)}, {"MXFP4", {-1, -1}, ISOGRID_CODEC(mxfp4)},
    {"NVFP4", {-1, -1}, ISOGRID_CODEC(nvfp4)},  {"TQ1_0", {52, -1}, ISOGRID_CODEC(tq1_0)},
    {"TQ2_0", {64, -1}, ISOGRID_CODEC(tq2_0)},  {"Q1_0", {0, -1}, ISOGRID_CODEC(q1_0)},
    {"Q2_0", {0, -1}, ISOGRID_CODEC(q2_0)},
};

}  // namespace

std::span<const CodecRow> codec_rows() { return kCodecs; }

const CodecRow* find_codecs(const GgufType& type) {
  for (const CodecRow& row : kCodecs)
    if (row.name == type.name) return &row;
  return nullptr;
}

const BlockCodec& codec_of(const GgufType& type, kernels::Isa isa) {
  const CodecRow* row = find_codecs(type);
  if (row == nullptr)
    fail(ExitCode::refused_input, "GGUF type ", type.name, ": its blocks cannot be read or made");
  const kernels::Isa best = std::min(isa, kernels::best_isa());
  return *row->by_isa[best >= kernels::Isa::avx512 ? 2 : best >= kernels::Isa::avx2 ? 1 : 0];
}
const BlockCodec& codec_of(const GgufType& type) { return codec_of(type, kernels::best_isa()); }

int64_t first_broken_block(const GgufType& type, const std::byte* blocks, int64_t count) {
  constexpr uint32_t kExponent = 0x7c;  // in the upper byte of a float16
  const CodecRow* row = find_codecs(type);
  if (row == nullptr || row->scale_at[0] < 0) return -1;
  for (int64_t i = 0; i < count; ++i)
    for (const int16_t at : row->scale_at)
      if (at >= 0 &&
          (std::to_integer<uint32_t>(blocks[i * type.bytes + at + 1]) & kExponent) == kExponent)
        return i;
  return -1;
}

}  // namespace isogrid::grids
