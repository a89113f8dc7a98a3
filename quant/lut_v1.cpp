#include "quant/lut_v1.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "quant/lut_v2.h"
#include "quant/packed_codes.h"
#include "quant/row_chunks.h"

namespace isogrid {
namespace {

at::ScalarType type_of_sums(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor lifted_product(const at::Tensor& a, const at::Tensor& b) {
  return at::mm(a, b).clamp_min(kLeastV1Scale);
}

bool wants_gradient(const at::Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }

bool fits(const LutV1Parts& p) {
  return p.latent.dim() == 2 && p.a.dim() == 2 && p.b.dim() == 2 && p.table.values.dim() == 1 &&
         p.a.size(0) == p.latent.size(0) && p.b.size(1) == p.latent.size(1) &&
         p.a.size(1) == p.b.size(0) && p.a.size(1) > 0;
}

}  // namespace

LutV1Weight::LutV1Weight(const std::string& name, LutV1Parts parts) : parts_(std::move(parts)) {
  if (!fits(parts_))
    fail(ExitCode::refused_input, name, ": the parts of a look-up-table layer do not fit: weight ",
         parts_.latent.sizes(), ", scale_A ", parts_.a.sizes(), ", scale_B ", parts_.b.sizes(),
         ", lut ", parts_.table.values.sizes());
  static_cast<void>(bits());
}

int LutV1Weight::bits() const { return code_bits(parts_.table.size()); }

at::Tensor LutV1Weight::scales() const {
  const at::NoGradGuard no_grad;
  return lifted_product(parts_.a.detach(), parts_.b.detach());
}

at::Tensor LutV1Weight::codes() const {
  const at::NoGradGuard no_grad;
  const auto type = type_of_sums(parts_.latent.scalar_type());
  return unpack_codes(factors(type, 0, outputs()).codes, bits(), inputs());
}

LutFactors LutV1Weight::factors(at::ScalarType type, int64_t first, int64_t last) const {
  LutFactors rows;
  rows.bits = bits();
  rows.table = table_values(parts_.table, type, /*half=*/false);
  rows.left = parts_.a.detach().slice(0, first, last).to(type);
  rows.right = parts_.b.detach().to(type);
  rows.lowest = kLeastV1Scale;
  const at::Tensor weight = parts_.latent.detach().slice(0, first, last);
  rows.codes = at::empty({last - first, packed_bytes(inputs(), rows.bits)},
                         weight.options().dtype(at::kByte));
  for_row_chunks(last - first, inputs(), [&](int64_t from, int64_t until) {
    const at::NoGradGuard no_grad;
    const at::Tensor scales = lifted_product(rows.left.slice(0, from, until), rows.right);
    const at::Tensor codes = v1_codes(weight.slice(0, from, until).to(type), scales, rows.table);
    rows.codes.slice(0, from, until).copy_(pack_codes(codes, rows.bits));
  });
  return rows;
}

void LutV1Weight::materialise(at::Tensor& out, int64_t first, int64_t last,
                              const LowRank* delta) const {
  const at::NoGradGuard no_grad;
  if (delta != nullptr)
    fail(ExitCode::internal, "look-up-table weights are not rounded together with an adapter");
  lut_expand(factors(type_of_sums(out.scalar_type()), first, last), out, 0, last - first);
}

at::Tensor LutV1Weight::rows(const at::Tensor& ids, at::ScalarType compute) const {
  const at::NoGradGuard no_grad;
  LutV1Parts picked = parts_;
  picked.latent = at::index_select(parts_.latent.detach(), 0, ids);
  picked.a = at::index_select(parts_.a.detach(), 0, ids);
  at::Tensor out = at::empty(picked.latent.sizes(), picked.latent.options().dtype(compute));
  LutV1Weight("rows", std::move(picked)).materialise(out, 0, ids.numel(), nullptr);
  return out;
}

bool LutV1Weight::trains() const {
  return wants_gradient(parts_.latent) || wants_gradient(parts_.a) || wants_gradient(parts_.b) ||
         parts_.table.trains();
}

void LutV1Weight::accumulate(const at::Tensor& d_weight) {
  const at::NoGradGuard no_grad;
  const bool with_latent = wants_gradient(parts_.latent);
  if (with_latent) add_gradient(parts_.latent, d_weight);
  const bool with_scales = wants_gradient(parts_.a) || wants_gradient(parts_.b);
  if (!with_scales && !parts_.table.trains()) return;
  const auto type = type_of_sums(d_weight.scalar_type());
  const LutFactors all = factors(type, 0, outputs());
  LutFactorGradients d = lut_gradients(all, d_weight, parts_.table.trains());
  if (d.table.defined()) accumulate_table(parts_.table, d.table);
  if (with_scales && with_latent) {
    const at::Tensor plain = at::mm(all.left, all.right), scales = plain.clamp_min(all.lowest);
    const at::Tensor units = parts_.latent.detach().to(type) / scales;
    const at::Tensor follows = units.abs().le(parts_.table.top()) * plain.gt(all.lowest);
    const at::Tensor d_units = d_weight.to(type) * units * follows;
    d.left = d.left - at::mm(d_units, all.right.t());
    d.right = d.right - at::mm(all.left.t(), d_units);
  }
  if (wants_gradient(parts_.a)) add_gradient(parts_.a, d.left);
  if (wants_gradient(parts_.b)) add_gradient(parts_.b, d.right);
}

void LutV1Weight::accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) {
  const at::NoGradGuard no_grad;
  at::Tensor whole = at::zeros({outputs(), inputs()}, d_rows.options());
  whole.index_add_(0, ids, d_rows);
  accumulate(whole);
}

void LutV1Weight::visit(const std::string& prefix, Role role, const TensorVisitor& visitor) {
  const auto show = [&](const char* part, at::Tensor& tensor, Role of, bool of_run = false) {
    if (!tensor.defined()) return;
    TensorSlot slot{prefix + part, &tensor, of};
    slot.in_master = true;
    slot.of_run = of_run;
    visitor(slot);
  };
  if (parts_.table.logits.defined()) {
    const at::NoGradGuard no_grad;
    parts_.table.values.copy_(
        table_values(parts_.table, parts_.table.values.scalar_type(), /*half=*/true));
  }
  show(".weight", parts_.latent, role);
  show(".lut", parts_.table.values, Role::table);
  show(".lut_logits", parts_.table.logits, Role::table, /*of_run=*/true);
  show(".scale_A", parts_.a, Role::factor);
  show(".scale_B", parts_.b, Role::factor);
}

void LutV1Weight::to(at::Device device) {
  for (at::Tensor* tensor :
       {&parts_.latent, &parts_.table.values, &parts_.table.logits, &parts_.a, &parts_.b}) {
    if (!tensor->defined()) continue;
    const bool trained = tensor->requires_grad();
    *tensor = tensor->detach().to(device);
    tensor->requires_grad_(trained);
  }
}

at::Tensor v1_codes(const at::Tensor& weight, const at::Tensor& scales, const at::Tensor& table) {
  const at::NoGradGuard no_grad;
  const int bits = code_bits(table.size(0));
  if (!table.to(at::kFloat).cpu().equal(uniform_table(bits)))
    return nearest_codes(weight, scales, table);
  const at::Tensor unit = (weight / scales).clamp_(-1, 1);
  const double step = 2.0 / static_cast<double>(table.size(0) - 1);
  return unit.add_(1).div_(step).round_().to(at::kByte);
}

}  // namespace isogrid
