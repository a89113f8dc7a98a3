#include "quant/four_bit_grid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace isogrid {
namespace {

float scale_of(const std::byte* record, int64_t block) {
  float scale = 0;
  std::memcpy(&scale, record + 4 * block, sizeof scale);
  return scale;
}

uint8_t* codes_in(std::byte* record, int64_t columns) {
  return reinterpret_cast<uint8_t*>(record) + columns / FourBitGrid::kBlock * 4;
}

/// The codes in the order of their values, and the midpoints between neighbours.
struct OrderedCodes {
  std::array<uint8_t, 16> codes;
  std::array<float, 15> midpoints;
};

OrderedCodes ordered(kernels::FourBitCode code) {
  const float* values = kernels::four_bit_values(code);
  OrderedCodes order{};
  for (uint8_t i = 0; i < 16; ++i) order.codes[i] = i;
  std::stable_sort(order.codes.begin(), order.codes.end(),
                   [&](uint8_t a, uint8_t b) { return values[a] < values[b]; });
  for (size_t i = 0; i < 15; ++i)
    order.midpoints[i] = (values[order.codes[i]] + values[order.codes[i + 1]]) / 2;
  return order;
}

uint8_t nearest(const OrderedCodes& order, float value, float scale) {
  const float share = scale == 0 ? 0.0f : value / scale;
  const auto below = std::lower_bound(order.midpoints.begin(), order.midpoints.end(), share);
  return order.codes[static_cast<size_t>(below - order.midpoints.begin())];
}

}  // namespace

void FourBitGrid::encode(const float* row, const float*, int64_t columns, std::byte* record) const {
  // Scales are the first of a record, and records are of whole words.
  kernels::four_bit_kernels().quantise(code_, kernels::Element::f32, row, columns, kBlock,
                                       codes_in(record, columns), reinterpret_cast<float*>(record),
                                       0, columns / kBlock);
}

void FourBitGrid::decode(const std::byte* record, int64_t columns, float* row) const {
  kernels::FourBitTensor tensor;
  tensor.codes = codes_in(const_cast<std::byte*>(record), columns);
  tensor.values = kernels::four_bit_values(code_);
  tensor.block = kBlock;
  tensor.scales = reinterpret_cast<const float*>(record);
  kernels::four_bit_kernels().dequantise(tensor, kernels::Element::f32, row, 0, columns);
}

void FourBitGrid::recode(const float* row, int64_t columns, std::byte* record) const {
  const OrderedCodes order = ordered(code_);
  uint8_t* codes = codes_in(record, columns);
  for (int64_t c = 0; c < columns; c += 2) {
    const float scale = scale_of(record, c / kBlock);
    const int high = nearest(order, row[c], scale), low = nearest(order, row[c + 1], scale);
    codes[c / 2] = static_cast<uint8_t>(high << 4 | low);
  }
}

/// All sixteen values are shares of the scale, the outermost the scale itself (of FP4 too).
void FourBitGrid::limits(const std::byte* record, int64_t columns, float* below,
                         float* above) const {
  for (int64_t c = 0; c < columns; ++c) {
    above[c] = std::abs(scale_of(record, c / kBlock));
    below[c] = -above[c];
  }
}

void FourBitGrid::read_scales(const std::byte* record, int64_t columns, float* scales) const {
  std::memcpy(scales, record, static_cast<size_t>(this->scales(columns)) * sizeof(float));
}

void FourBitGrid::write_scales(const float* scales, int64_t columns, std::byte* record) const {
  std::memcpy(record, scales, static_cast<size_t>(this->scales(columns)) * sizeof(float));
}

std::shared_ptr<const Grid> make_four_bit_grid(std::string_view name) {
  return std::make_shared<FourBitGrid>(name == "nf4" ? kernels::FourBitCode::nf4
                                                     : kernels::FourBitCode::fp4);
}

}  // namespace isogrid
