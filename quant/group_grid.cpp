#include "quant/group_grid.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>

#include "core/error.h"
#include "quant/bit_stream.h"

namespace isogrid {
namespace {

float rounded_scale(float scale, at::ScalarType type) {
  if (type == at::kHalf) return static_cast<float>(c10::Half(scale));
  if (type == at::kBFloat16) return static_cast<float>(c10::BFloat16(scale));
  return scale;
}

template <typename Body>
void for_weight_rows(int64_t rows, int64_t columns, const Body& body) {
  at::parallel_for(0, rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, columns)),
                   [&](int64_t first, int64_t last) {
                     for (int64_t row = first; row < last; ++row) body(row);
                   });
}

}  // namespace

GroupGrid grid_between(float least, float greatest, const GroupRule& rule) {
  least = std::min(least, 0.0f);
  greatest = std::max(greatest, 0.0f);
  const auto top = static_cast<float>(rule.top());
  GroupGrid grid;
  if (rule.symmetric) {
    grid.scale = rounded_scale(2.0f * std::max(-least, greatest) / top, rule.scale_type);
    grid.zero = 1 << (rule.bits - 1);
  } else {
    grid.scale = rounded_scale((greatest - least) / top, rule.scale_type);
  }
  if (!(grid.scale > 0)) {
    // Nothing here is worth a code of its own.
    grid.scale = rounded_scale(2.0f / top, rule.scale_type);
    grid.zero = 1 << (rule.bits - 1);
    return grid;
  }
  if (!rule.symmetric)
    grid.zero = std::clamp(static_cast<int>(std::lrint(-least / grid.scale)), 0, rule.top());
  return grid;
}

GroupGrid fitted_grid(const float* values, int64_t count, const GroupRule& rule, float kept) {
  float least = 0, greatest = 0;
  for (int64_t i = 0; i < count; ++i) {
    least = std::min(least, values[i]);
    greatest = std::max(greatest, values[i]);
  }
  return grid_between(least * kept, greatest * kept, rule);
}

PackedGroupParts packed_parts(const char* format, const GroupRule& rule, const at::Tensor& codes,
                              const at::Tensor& scales, const at::Tensor& zeros,
                              const at::Tensor& group_of) {
  PackedGroupParts parts;
  parts.format = format;
  parts.bits = rule.bits;
  parts.outputs = codes.size(0);
  parts.inputs = codes.size(1);
  parts.group_size = rule.width(parts.inputs);
  parts.codes = at::zeros({parts.outputs, packed_row_bytes(parts.inputs, rule.bits)}, at::kByte);
  for_weight_rows(parts.outputs, parts.inputs, [&](int64_t row) {
    const uint8_t* from = codes.const_data_ptr<uint8_t>() + row * parts.inputs;
    auto* words = reinterpret_cast<int32_t*>(parts.codes.mutable_data_ptr<uint8_t>() +
                                             row * parts.codes.size(1));
    for (int64_t k = 0; k < parts.inputs; ++k) put_bits(words, k * rule.bits, rule.bits, from[k]);
  });
  parts.scales = scales.to(rule.scale_type);
  parts.zeros = zeros;
  parts.group_of = group_of;
  return simplified(std::move(parts));
}

namespace {

/// Fits every group of every row; `take(row, group, first, last, grid)` does the rest.
template <typename Take>
void for_fitted_groups(const at::Tensor& wide, const GroupRule& rule, const at::Tensor& kept,
                       const Take& take) {
  const int64_t inputs = wide.size(1), groups = rule.groups(inputs), width = rule.width(inputs);
  for_weight_rows(wide.size(0), inputs, [&](int64_t row) {
    const float* values = wide.const_data_ptr<float>() + row * inputs;
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = group * width, last = std::min(inputs, first + width);
      const float share =
          kept.defined() ? kept.const_data_ptr<float>()[row * groups + group] : 1.0f;
      take(row, group, first, last, fitted_grid(values + first, last - first, rule, share));
    }
  });
}

}  // namespace

PackedGroupParts rounded_to_nearest(const char* format, const at::Tensor& weight,
                                    const GroupRule& rule, const at::Tensor& kept) {
  const at::Tensor wide = weight.to(at::kFloat).contiguous();
  const int64_t outputs = wide.size(0), inputs = wide.size(1), groups = rule.groups(inputs);
  at::Tensor codes = at::empty({outputs, inputs}, at::kByte);
  at::Tensor scales = at::empty({outputs, groups}, at::kFloat);
  at::Tensor zeros = at::empty({outputs, groups}, at::kByte);
  for_fitted_groups(wide, rule, kept,
                    [&](int64_t row, int64_t group, int64_t first, int64_t last, GroupGrid grid) {
                      scales.mutable_data_ptr<float>()[row * groups + group] = grid.scale;
                      zeros.mutable_data_ptr<uint8_t>()[row * groups + group] =
                          static_cast<uint8_t>(grid.zero);
                      const float* from = wide.const_data_ptr<float>() + row * inputs;
                      uint8_t* to = codes.mutable_data_ptr<uint8_t>() + row * inputs;
                      for (int64_t k = first; k < last; ++k)
                        to[k] = static_cast<uint8_t>(grid.code(from[k], rule.top()));
                    });
  return packed_parts(format, rule, codes, scales, zeros);
}

at::Tensor rounded_values(const at::Tensor& weight, const GroupRule& rule, const at::Tensor& kept) {
  const at::Tensor wide = weight.to(at::kFloat).contiguous();
  at::Tensor values = at::empty(wide.sizes(), at::kFloat);
  const int64_t inputs = wide.size(1);
  for_fitted_groups(wide, rule, kept,
                    [&](int64_t row, int64_t, int64_t first, int64_t last, GroupGrid grid) {
                      const float* from = wide.const_data_ptr<float>() + row * inputs;
                      float* to = values.mutable_data_ptr<float>() + row * inputs;
                      for (int64_t k = first; k < last; ++k)
                        to[k] = grid.value(grid.code(from[k], rule.top()));
                    });
  return values;
}

at::Tensor unpacked_codes(const PackedGroupParts& parts) {
  const at::Tensor packed = parts.codes.contiguous();
  at::Tensor codes = at::empty({parts.outputs, parts.inputs}, at::kByte);
  for_weight_rows(parts.outputs, parts.inputs, [&](int64_t row) {
    const auto* words =
        reinterpret_cast<const int32_t*>(packed.const_data_ptr<uint8_t>() + row * packed.size(1));
    uint8_t* to = codes.mutable_data_ptr<uint8_t>() + row * parts.inputs;
    for (int64_t k = 0; k < parts.inputs; ++k)
      to[k] = static_cast<uint8_t>(bits_at(words, k * parts.bits, parts.bits));
  });
  return codes;
}

void check_range(const std::string& name, const at::Tensor& weight, const GroupRule& rule) {
  if (weight.numel() == 0) return;
  const auto largest = weight.abs().max().to(at::kFloat).item<float>();
  if (!std::isfinite(largest))
    fail(ExitCode::numeric, name, ": holds values that are not finite; they have no code");
  const GroupGrid grid = grid_between(-largest, largest, rule);
  if (!std::isfinite(grid.scale))
    fail(ExitCode::numeric, name, ": holds ", largest, ", whose scale does not fit the file's ",
         at::toString(rule.scale_type));
}

}  // namespace isogrid
