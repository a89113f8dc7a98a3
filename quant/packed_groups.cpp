#include "quant/packed_groups.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "core/error.h"

namespace isogrid {
namespace {

bool follows_columns(const PackedGroupParts& parts) {
  const auto* group = parts.group_of.const_data_ptr<int32_t>();
  for (int64_t column = 0; column < parts.inputs; ++column)
    if (group[column] != column / parts.group_size) return false;
  return true;
}

kernels::PackedGroups packed_view(const PackedGroupParts& parts) {
  kernels::PackedGroups view;
  view.bits = parts.bits;
  view.codes = parts.codes.const_data_ptr<uint8_t>();
  view.row_bytes = parts.codes.size(1);
  view.columns = parts.inputs;
  view.scales = parts.scales.const_data_ptr();
  view.scale_type = element_of(parts.scales);
  view.zeros = parts.zeros.defined() ? parts.zeros.const_data_ptr<uint8_t>() : nullptr;
  view.zero = parts.zero;
  view.groups = parts.groups();
  view.group_size = parts.group_size;
  view.group_of = parts.group_of.defined() ? parts.group_of.const_data_ptr<int32_t>() : nullptr;
  return view;
}

}  // namespace

PackedGroupParts simplified(PackedGroupParts parts) {
  if (parts.zeros.defined() && parts.zeros.numel() > 0) {
    const auto* zero = parts.zeros.const_data_ptr<uint8_t>();
    if (std::all_of(zero, zero + parts.zeros.numel(), [&](uint8_t z) { return z == zero[0]; })) {
      parts.zero = zero[0];
      parts.zeros = at::Tensor();
    }
  }
  if (parts.group_of.defined() && follows_columns(parts)) parts.group_of = at::Tensor();
  return parts;
}

PackedGroupWeight::PackedGroupWeight(PackedGroupParts parts)
    : FrozenWeight(parts.outputs, parts.inputs), parts_(std::move(parts)) {}

std::string PackedGroupWeight::format() const { return concat(parts_.format, ":", parts_.bits); }

void PackedGroupWeight::visit(const std::string& prefix, Role, const TensorVisitor& visitor) {
  visitor({prefix + ".weight_packed", &parts_.codes, Role::code});
  visitor({prefix + ".weight_scale", &parts_.scales, Role::scale});
  if (parts_.zeros.defined()) visitor({prefix + ".weight_zero_point", &parts_.zeros, Role::scale});
  if (parts_.group_of.defined()) visitor({prefix + ".weight_g_idx", &parts_.group_of, Role::scale});
}

void PackedGroupWeight::to(at::Device device) {
  for (at::Tensor* tensor : {&parts_.codes, &parts_.scales, &parts_.zeros, &parts_.group_of})
    if (tensor->defined()) *tensor = tensor->to(device);
}

void PackedGroupWeight::expand(at::Tensor& out, int64_t first, int64_t last) const {
  const kernels::PackedGroups view = packed_view(parts_);
  const kernels::Element element = element_of(out);
  auto* to = static_cast<char*>(out.mutable_data_ptr());
  if (!out.is_cpu())
    return kernels::dequantise_packed_groups_on_device(view, element, to, first, last,
                                                       stream_of(out));
  const int64_t row_bytes = inputs() * static_cast<int64_t>(out.element_size());
  const int64_t share = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, inputs()));
  at::parallel_for(first, last, share, [&](int64_t from, int64_t until) {
    kernels::packed_group_kernels().dequantise(view, element, to + (from - first) * row_bytes, from,
                                               until);
  });
}

}  // namespace isogrid
