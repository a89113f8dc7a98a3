#include "quant/gguf_grid.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error.h"
#include "quant/grids/codecs.h"

namespace isogrid {
namespace {

/// What training asks about a type beyond its codec.
struct TypeFacts {
  std::string_view type;
  bool searches = false;      // encode() tries many scales
  bool proportional = false;  // a weight is a multiple of the block's one float16 scale
  float end_gap = 0.0f;       // half the outermost gap between values, over their span; 0: no end
};

constexpr float even_gap(int values) { return 0.5f / static_cast<float>(values - 1); }

const TypeFacts& facts_of(const GgufType& type) {
  static constexpr TypeFacts kFacts[] = {
      {"Q4_0", false, true, even_gap(16)},  {"Q4_1", false, false, even_gap(16)},
      {"Q5_0", false, true, even_gap(32)},  {"Q5_1", false, false, even_gap(32)},
      {"Q8_0", false, true, even_gap(255)}, {"Q2_K", true, false, even_gap(4)},
      {"Q3_K", true, true, even_gap(8)},    {"Q4_K", true, false, even_gap(16)},
      {"Q5_K", true, false, even_gap(32)},  {"Q6_K", true, true, even_gap(64)},
      {"IQ4_NL", true, true, 11.5f / 240},  {"IQ4_XS", true, true, 11.5f / 240},
      {"MXFP4", false, false, 1.0f / 12},   {"NVFP4", false, false, 1.0f / 12},
      {"TQ1_0", false, true, even_gap(3)},  {"TQ2_0", false, true, even_gap(3)},
      {"Q1_0", false, true, even_gap(2)},   {"Q2_0", false, true, even_gap(4)},
  };
  static constexpr TypeFacts kPlain{};
  for (const TypeFacts& facts : kFacts)
    if (facts.type == type.name) return facts;
  return kPlain;
}

int64_t scale_offset(const GgufType& type) { return grids::find_codecs(type)->scale_at[0]; }

}  // namespace

std::string gguf_grid_name(const GgufType& type) {
  std::string name = "gguf:";
  for (const char c : type.name) name += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return name;
}

GgufGrid::GgufGrid(const GgufType& type) : type_(type), name_(gguf_grid_name(type)) {}

int64_t GgufGrid::row_bytes(int64_t columns) const {
  return columns / type_.block * static_cast<int64_t>(type_.bytes);
}

bool GgufGrid::searches() const { return facts_of(type_).searches; }

void GgufGrid::encode(const float* row, const float* importance, int64_t columns,
                      std::byte* record) const {
  grids::codec_of(type_).encode(row, importance, 1, columns, record);
}

void GgufGrid::decode(const std::byte* record, int64_t columns, float* row) const {
  grids::codec_of(type_).decode(record, columns / type_.block, row);
}

void GgufGrid::round_trip(const float* row, const float* importance, int64_t columns,
                          float* out) const {
  if (importance != nullptr || searches()) return Grid::round_trip(row, importance, columns, out);
  // A stretch at a time, so that the record stays where it was just written.
  constexpr int64_t kStretch = 2048;
  const grids::BlockCodec& codec = grids::codec_of(type_);
  std::byte record[4 * kStretch];
  for (int64_t first = 0; first < columns; first += kStretch) {
    const int64_t count = std::min(kStretch, columns - first);
    codec.encode(row + first, nullptr, 1, count, record);
    codec.decode(record, count / type_.block, out + first);
  }
}

bool GgufGrid::recodes() const { return grids::codec_of(type_).recode != nullptr; }

void GgufGrid::recode(const float* row, int64_t columns, std::byte* record) const {
  grids::codec_of(type_).recode(row, columns / type_.block, record);
}

bool GgufGrid::has_limits() const { return recodes() && facts_of(type_).end_gap > 0; }

void GgufGrid::limits(const std::byte* record, int64_t columns, float* below, float* above) const {
  // The outermost codes are those of weights that are far out.
  constexpr float kFar = std::numeric_limits<float>::max();
  std::vector<std::byte> extreme(record, record + row_bytes(columns));
  for (float* end : {below, above}) {
    std::fill(end, end + columns, end == below ? -kFar : kFar);
    recode(end, columns, extreme.data());
    decode(extreme.data(), columns, end);
  }
  for (int64_t c = 0; c < columns; ++c) {
    const float gap = facts_of(type_).end_gap * (above[c] - below[c]);
    below[c] -= gap;
    above[c] += gap;
  }
}

int64_t GgufGrid::scales(int64_t columns) const {
  return facts_of(type_).proportional ? columns / type_.block : 0;
}

void GgufGrid::read_scales(const std::byte* record, int64_t columns, float* scales) const {
  record += scale_offset(type_);
  for (int64_t i = 0; i < columns / type_.block; ++i, record += type_.bytes) {
    c10::Half half;
    std::memcpy(&half.x, record, sizeof half.x);
    scales[i] = half;
  }
}

void GgufGrid::write_scales(const float* scales, int64_t columns, std::byte* record) const {
  record += scale_offset(type_);
  for (int64_t i = 0; i < columns / type_.block; ++i, record += type_.bytes) {
    const c10::Half half = scales[i];
    std::memcpy(record, &half.x, sizeof half.x);
  }
}

std::shared_ptr<const Grid> make_gguf_grid(std::string_view name) {
  return std::make_shared<GgufGrid>(gguf_type(name.substr(name.find(':') + 1)));
}

}  // namespace isogrid
