#include "quant/integer_grid.h"

#include <algorithm>

#include "core/error.h"

namespace isogrid {
namespace {

using kernels::IntegerRule;
using kernels::ScaleRounding;

/// Nothing is clipped: the scale serves whichever side reaches further for its codes.
IntegerRule unclipped_int4(int64_t group, ScaleRounding rounding) {
  return {.group = group, .rounding = rounding};
}

/// bitsandbytes' LLM.int8(): the row's largest magnitude is stored, and divided by 127 on use.
IntegerRule llm_int8() {
  return {.group = 0,
          .lowest = -127,
          .highest = 127,
          .divide_low = 1.0f,
          .divide_high = 1.0f,
          .value_factor = 7.874015718698502e-3f,
          .by_reciprocal = true,
          .half_input = true};
}

/// torchao's SYMMETRIC mapping: half the span of the codes to either side, so that the largest
/// positive weight is clipped by half a step.
IntegerRule torchao_int8() {
  return {.group = 0,
          .lowest = -128,
          .highest = 127,
          .divide_low = 127.5f,
          .divide_high = 127.5f,
          .smallest = 1.1920929e-7f,
          .by_reciprocal = true};
}

IntegerRule torchao_8da4w() {
  return {.group = 32,
          .divide_low = 7.5f,
          .divide_high = 7.5f,
          .smallest = 1.1754944e-38f,
          .by_reciprocal = true,
          .rounding = ScaleRounding::bfloat};
}

IntegerRule torchao_int4() {
  return {.group = 128,
          .divide_high = 15.0f,
          .smallest = 1e-6f,
          .has_zero = true,
          .rounding = ScaleRounding::bfloat};
}

struct RuleRow {
  std::string_view name;
  IntegerRule rule;
};

const RuleRow& find_rule(std::string_view name) {
  static const RuleRow table[] = {
      {"int4_g32", unclipped_int4(32, ScaleRounding::half)},
      {"int4_g64", unclipped_int4(64, ScaleRounding::half)},
      {"int4_g128", unclipped_int4(128, ScaleRounding::half)},
      {"universal_int4", unclipped_int4(32, ScaleRounding::shared16)},
      {"int8", llm_int8()},
      {"torchao:int4wo", torchao_int4()},
      {"torchao:int8wo", torchao_int8()},
      {"torchao:8da4w", torchao_8da4w()},
  };
  for (const RuleRow& row : table)
    if (row.name == name) return row;
  fail(ExitCode::internal, name, ": not a grid of whole numbers");
}

}  // namespace

int64_t IntegerGrid::groups(int64_t columns) const {
  return rule_.group == 0 ? 1 : columns / rule_.group;
}

IntegerGrid::Parts IntegerGrid::parts(const std::byte* record, int64_t columns) const {
  const auto* scales = reinterpret_cast<const float*>(record);
  const int64_t count = groups(columns);
  return {scales, rule_.has_zero ? scales + count : nullptr,
          reinterpret_cast<const int8_t*>(scales + count * (rule_.has_zero ? 2 : 1))};
}

int64_t IntegerGrid::row_bytes(int64_t columns) const {
  const int64_t numbers = groups(columns) * (rule_.has_zero ? 2 : 1);
  return 4 * numbers + (columns + 3) / 4 * 4;
}

void IntegerGrid::encode(const float* row, const float*, int64_t columns, std::byte* record) const {
  const Parts p = parts(record, columns);
  kernels::integer_grid_kernels().encode(rule_, row, columns, const_cast<float*>(p.scales),
                                         const_cast<float*>(p.zeros), const_cast<int8_t*>(p.codes));
}

void IntegerGrid::recode(const float* row, int64_t columns, std::byte* record) const {
  const Parts p = parts(record, columns);
  kernels::integer_grid_kernels().recode(rule_, row, columns, p.scales, p.zeros,
                                         const_cast<int8_t*>(p.codes));
}

void IntegerGrid::decode(const std::byte* record, int64_t columns, float* row) const {
  const Parts p = parts(record, columns);
  kernels::integer_grid_kernels().decode(rule_, p.scales, p.zeros, p.codes, columns, row);
}

void IntegerGrid::round_trip(const float* row, const float*, int64_t columns, float* out) const {
  kernels::integer_grid_kernels().round_trip(rule_, row, columns, out);
}

void IntegerGrid::limits(const std::byte* record, int64_t columns, float* below,
                         float* above) const {
  const Parts p = parts(record, columns);
  const int64_t group = rule_.group == 0 ? columns : rule_.group;
  for (int64_t first = 0, i = 0; first < columns; first += group, ++i) {
    const float unit = p.scales[i] * rule_.value_factor;
    const float zero = p.zeros == nullptr ? 0.0f : p.zeros[i];
    const float a = zero + (static_cast<float>(rule_.lowest) - 0.5f) * unit;
    const float b = zero + (static_cast<float>(rule_.highest) + 0.5f) * unit;
    std::fill(below + first, below + first + group, std::min(a, b));
    std::fill(above + first, above + first + group, std::max(a, b));
  }
}

int64_t IntegerGrid::scales(int64_t columns) const { return rule_.has_zero ? 0 : groups(columns); }

void IntegerGrid::read_scales(const std::byte* record, int64_t columns, float* scales) const {
  const Parts p = parts(record, columns);
  std::copy(p.scales, p.scales + groups(columns), scales);
}

void IntegerGrid::write_scales(const float* scales, int64_t columns, std::byte* record) const {
  const Parts p = parts(record, columns);
  kernels::integer_grid_kernels().store_scales(rule_, scales, groups(columns),
                                               const_cast<float*>(p.scales));
}

std::shared_ptr<const Grid> make_integer_grid(std::string_view name) {
  const RuleRow& row = find_rule(name);
  return std::make_shared<IntegerGrid>(std::string(row.name), row.rule);
}

}  // namespace isogrid
