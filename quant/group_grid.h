#pragma once
#include <cmath>
#include <cstdint>

#include "quant/packed_groups.h"

namespace isogrid {

/// How a run of numbers becomes unsigned codes that share a scale and a zero point.
struct GroupRule {
  int bits = 4;
  int64_t group_size = 128;  // columns that share them; -1: the whole row
  bool symmetric = true;     // the zero point is the middle code
  at::ScalarType scale_type = at::kHalf;

  int top() const { return (1 << bits) - 1; }
  int64_t width(int64_t inputs) const { return group_size < 0 ? inputs : group_size; }
  int64_t groups(int64_t inputs) const { return (inputs + width(inputs) - 1) / width(inputs); }
};

/// code -> scale * (code - zero). The scale is a number of the file's type already, so that what
/// is rounded to is what the file decodes to.
struct GroupGrid {
  float scale = 1.0f;
  int zero = 8;

  int code(float value, int top) const {
    // Far beyond the ends an integer would overflow; the ends are what is wanted there.
    const float steps = value / scale, bound = 2.0f * static_cast<float>(top + 1);
    const auto nearest = static_cast<int>(std::lrint(steps < -bound  ? -bound
                                                     : steps > bound ? bound
                                                                     : steps));
    const int shifted = nearest + zero;
    return shifted < 0 ? 0 : shifted > top ? top : shifted;
  }
  float value(int code) const { return scale * static_cast<float>(code - zero); }
};

/// The grid whose ends are the least and the greatest of `count` numbers, zero always among them.
/// Where all are zero, or too small for the scale's type, every code is the zero point.
GroupGrid fitted_grid(const float* values, int64_t count, const GroupRule& rule, float kept = 1);
/// The same from the ends alone.
GroupGrid grid_between(float least, float greatest, const GroupRule& rule);

/// Codes uint8 [outputs, inputs], scales float32 and zero points uint8 [outputs, groups] as the
/// quantisers make them, in the layout that is kept and loaded. `group_of` as in PackedGroupParts.
PackedGroupParts packed_parts(const char* format, const GroupRule& rule, const at::Tensor& codes,
                              const at::Tensor& scales, const at::Tensor& zeros,
                              const at::Tensor& group_of = {});

/// Every number to its nearest grid point: the quantiser that looks at no data. `kept` float32
/// [outputs, groups] narrows each group's range to so much of it; undefined: none.
PackedGroupParts rounded_to_nearest(const char* format, const at::Tensor& weight,
                                    const GroupRule& rule, const at::Tensor& kept = {});

/// What that decodes to, float32, before a reader rounds it to the scales' type: for searches.
at::Tensor rounded_values(const at::Tensor& weight, const GroupRule& rule,
                          const at::Tensor& kept = {});

/// Codes of the parts, uint8 [outputs, inputs].
at::Tensor unpacked_codes(const PackedGroupParts& parts);

/// Refuses (80) a weight with values that are not finite, or too large for the scale's type.
void check_range(const std::string& name, const at::Tensor& weight, const GroupRule& rule);

}  // namespace isogrid
