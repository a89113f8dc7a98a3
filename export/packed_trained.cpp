#include "export/packed_trained.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/log.h"
#include "quant/group_grid.h"
#include "quant/integer_grid.h"

namespace isogrid {
namespace {

constexpr int kMiddle = 8;

const IntegerGrid* plain_grid(const TrainedWeight& weight) {
  const auto* grid = dynamic_cast<const IntegerGrid*>(weight.grid.get());
  const bool plain = grid != nullptr && !grid->rule().has_zero && grid->rule().value_factor == 1.0f;
  return plain ? grid : nullptr;
}

/// 0: no groups of four bits.
int64_t four_bit_group(const TrainedWeight& weight) {
  const IntegerGrid* grid = plain_grid(weight);
  if (grid == nullptr || grid->rule().group == 0) return 0;
  const bool fits = grid->rule().lowest >= -kMiddle && grid->rule().highest < kMiddle;
  return fits ? grid->rule().group : 0;
}

const TrainedWeight* trained_linear(const ExportSource& source, const std::string& name) {
  return source.codes ? source.codes->find(name + ".weight") : nullptr;
}

at::ScalarType scale_type_for(const WantedExport& wanted, const ExportSource& source,
                              const TrainedGroups& groups) {
  const std::string& stored = source.model.config.stored_dtype;
  if (wanted.format->name != "ct") return at::kHalf;
  if (stored == "bfloat16" && groups.short_scales) return at::kBFloat16;
  return stored == "float32" ? at::kFloat : at::kHalf;
}

bool holds(const WantedExport& wanted, int64_t outputs, int64_t inputs, int64_t group) {
  if (wanted.format->name == "awq") return fits_awq(outputs, inputs, group);
  if (wanted.format->name == "ct") return fits_compressed_tensors(inputs, group);
  return fits_gptq(outputs, inputs, 4);
}

PackedGroupParts packed_groups(const std::string& name, const TrainedGroups& groups,
                               at::ScalarType scale_type) {
  const GroupRule rule{.bits = 4, .group_size = groups.group_size, .scale_type = scale_type};
  PackedGroupParts parts =
      packed_parts("trained", rule, groups.codes.add(kMiddle).to(at::kByte), groups.scales,
                   at::full(groups.scales.sizes(), kMiddle, at::kByte));
  if (!parts.scales.to(at::kFloat).equal(groups.scales))
    fail(ExitCode::numeric, name, ": its trained scales do not fit ", at::toString(scale_type));
  return parts;
}

}  // namespace

std::optional<TrainedGroups> trained_groups(const TrainedWeight& weight) {
  const IntegerGrid* grid = plain_grid(weight);
  if (grid == nullptr) return std::nullopt;
  const int64_t rows = weight.records.size(0), columns = weight.columns;
  TrainedGroups groups;
  groups.group_size = grid->rule().group == 0 ? columns : grid->rule().group;
  groups.short_scales = grid->rule().rounding == kernels::ScaleRounding::shared16;
  groups.codes = at::empty({rows, columns}, at::kChar);
  groups.scales = at::empty({rows, grid->groups(columns)}, at::kFloat);
  const auto* record = static_cast<const std::byte*>(weight.records.const_data_ptr());
  for (int64_t row = 0; row < rows; ++row, record += weight.records.size(1)) {
    const IntegerGrid::Parts parts = grid->parts(record, columns);
    std::copy_n(parts.codes, columns, groups.codes.mutable_data_ptr<int8_t>() + row * columns);
    std::copy_n(parts.scales, groups.scales.size(1),
                groups.scales.mutable_data_ptr<float>() + row * groups.scales.size(1));
  }
  return groups;
}

int64_t trained_group_size(ExportSource& source) {
  int64_t size = 0;
  bool all = true;
  visit_linears(source.model, [&](const std::string& name, Linear&) {
    const TrainedWeight* weight = trained_linear(source, name);
    if (weight == nullptr) return;
    const int64_t own = four_bit_group(*weight);
    all = all && own > 0 && (size == 0 || own == size);
    size = own;
  });
  return all ? size : 0;
}

std::optional<PackedModel> trained_model(ExportSource& source, const WantedExport& wanted) {
  if (!source.codes) return std::nullopt;
  const int64_t group = trained_group_size(source);
  const bool four_bits = wanted.variant == "4" || wanted.variant == "int4";
  PackedModel packed;
  bool fits = four_bits && group > 0 && (wanted.group_size == 0 || wanted.group_size == group);
  visit_linears(source.model, [&](const std::string& name, Linear& linear) {
    const TrainedWeight* weight = trained_linear(source, name);
    fits = fits && (weight == nullptr ||
                    holds(wanted, linear.weight->outputs(), linear.weight->inputs(), group));
    if (!fits) return;
    if (weight == nullptr) return packed.left_dense.push_back(name);
    const TrainedGroups groups = *trained_groups(*weight);
    packed.linears[name] = packed_groups(name, groups, scale_type_for(wanted, source, groups));
  });
  if (fits) return packed;
  log_warning(concat(wanted.format->name, ":", wanted.variant, ": the weights were trained for ",
                     source.codes->target, "; this is a new quantisation of them"));
  return std::nullopt;
}

}  // namespace isogrid
