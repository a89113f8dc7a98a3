#include "quant/lut_v2.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "quant/lut_forward.h"
#include "quant/packed_codes.h"

namespace isogrid {
namespace {

constexpr double kLeastLength = 1e-6;
constexpr int64_t kRowsAtOnce = 256;

/// The directions of `a` and `b`, what they were divided by, and the magnitudes in use.
struct V2Directions {
  at::Tensor a, b, a_length, b_length, g;
};

V2Directions directions_of(const LutV2Parts& parts, at::ScalarType type, bool half) {
  const at::Tensor a = parts.a.detach().to(type), b = parts.b.detach().to(type);
  V2Directions d;
  d.a_length = a.norm(2, {0}, /*keepdim=*/true).clamp_min(kLeastLength);
  d.b_length = b.norm(2, {1}, /*keepdim=*/true).clamp_min(kLeastLength);
  d.a = a / d.a_length;
  d.b = b / d.b_length;
  d.g = parts.g.detach().to(type);
  if (half) d.g = as_half(d.g);
  return d;
}

/// dL/dv from that of v / length, along `dim`: what points along the direction changes nothing.
at::Tensor through_length(const at::Tensor& d_direction, const at::Tensor& direction,
                          const at::Tensor& length, int64_t dim) {
  const at::Tensor along = (direction * d_direction).sum(dim, /*keepdim=*/true);
  // A vector shorter than the floor is divided by a constant.
  const at::Tensor free = length.gt(kLeastLength);
  return (d_direction - direction * along * free) / length;
}

void add_if_trained(at::Tensor& tensor, const at::Tensor& gradient) {
  if (tensor.defined() && tensor.requires_grad()) add_gradient(tensor, gradient);
}

void move(at::Tensor& tensor, at::Device device) {
  if (!tensor.defined()) return;
  const bool trained = tensor.requires_grad();
  tensor = tensor.detach().to(device);
  if (trained) tensor.requires_grad_();
}

void check_parts(const std::string& name, const LutV2Parts& p) {
  const auto refuse = [&](const char* what) {
    fail(ExitCode::refused_input, name, ": ", what,
         " of a look-up-table layer does not fit: scale_A ", p.a.sizes(), ", scale_B ", p.b.sizes(),
         ", rank_magnitude ", p.g.sizes(), ", codes ", p.codes.sizes(), ", lut ",
         p.table.values.sizes());
  };
  if (p.a.dim() != 2 || p.b.dim() != 2 || p.a.size(1) != p.b.size(0) || p.a.size(1) < 1)
    refuse("the rank");
  if (p.g.dim() != 1 || p.g.size(0) != p.a.size(1)) refuse("rank_magnitude");
  if (p.table.values.dim() != 1) refuse("lut");
  if (p.codes.scalar_type() != at::kByte || p.codes.dim() != 2 || p.codes.size(0) != p.a.size(0) ||
      p.codes.size(1) != packed_bytes(p.b.size(1), p.bits()))
    refuse("codes");
}

}  // namespace

int LutV2Parts::bits() const { return code_bits(table.size()); }

LutV2Weight::LutV2Weight(const std::string& name, LutV2Parts parts, const LutV2Options& options)
    : parts_(std::move(parts)), options_(options) {
  check_parts(name, parts_);
}

LutFactors LutV2Weight::factors(at::ScalarType type) const {
  const at::NoGradGuard no_grad;
  LutFactors factors;
  factors.codes = parts_.codes;
  factors.bits = parts_.bits();
  factors.table = table_values(parts_.table, type, options_.half);
  if (parts_.baked) {
    factors.left = parts_.a.detach().to(type);
    factors.right = parts_.b.detach().to(type);
  } else {
    const V2Directions d = directions_of(parts_, type, options_.half);
    factors.left = d.a * d.g;
    factors.right = d.b;
  }
  if (options_.half) {
    factors.left = as_half(factors.left);
    factors.right = as_half(factors.right);
  }
  return factors;
}

void LutV2Weight::materialise(at::Tensor& out, int64_t first, int64_t last,
                              const LowRank* delta) const {
  const at::NoGradGuard no_grad;
  const auto type = out.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  if (delta == nullptr) return lut_expand(factors(type), out, first, last);
  at::Tensor wide = at::empty({last - first, inputs()}, out.options().dtype(type));
  lut_expand(factors(type), wide, first, last);
  wide.add_(
      at::matmul(delta->b.detach().slice(0, first, last).to(type), delta->a.detach().to(type)),
      delta->scale);
  out.copy_(wide);
}

at::Tensor LutV2Weight::rows(const at::Tensor& ids, at::ScalarType compute) const {
  const at::NoGradGuard no_grad;
  LutFactors picked = factors(compute == at::kDouble ? at::kDouble : at::kFloat);
  picked.codes = at::index_select(picked.codes, 0, ids);
  picked.left = at::index_select(picked.left, 0, ids);
  at::Tensor out = at::empty({ids.numel(), inputs()}, picked.left.options().dtype(compute));
  lut_expand(picked, out, 0, ids.numel());
  return out;
}

at::Tensor LutV2Weight::own_product(const at::Tensor& x) const {
  if (options_.forward == LutForward::materialised) return {};
  const at::NoGradGuard no_grad;
  const LutFactors all = factors(x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  return options_.forward == LutForward::factored ? factored_product(all, x, options_.half)
                                                  : batched_product(all, x, options_.half);
}

bool LutV2Weight::trains() const {
  const auto wants = [](const at::Tensor& t) { return t.defined() && t.requires_grad(); };
  return wants(parts_.a) || wants(parts_.b) || wants(parts_.g) || wants(parts_.latent) ||
         parts_.table.trains();
}

void LutV2Weight::accumulate(const at::Tensor& d_weight) {
  const at::NoGradGuard no_grad;
  add_if_trained(parts_.latent, d_weight);
  const auto type = d_weight.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const LutFactorGradients d =
      lut_gradients(factors(type), d_weight, /*with_table=*/parts_.table.trains());
  if (d.table.defined()) accumulate_table(parts_.table, d.table);
  if (parts_.baked) {
    add_if_trained(parts_.a, d.left);
    add_if_trained(parts_.b, d.right);
    return;
  }
  const V2Directions in_use = directions_of(parts_, type, options_.half);
  add_if_trained(parts_.g, (d.left * in_use.a).sum(0));
  add_if_trained(parts_.a, through_length(d.left * in_use.g, in_use.a, in_use.a_length, 0));
  add_if_trained(parts_.b, through_length(d.right, in_use.b, in_use.b_length, 1));
}

void LutV2Weight::accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) {
  const at::NoGradGuard no_grad;
  at::Tensor whole = at::zeros({outputs(), inputs()}, d_rows.options());
  whole.index_add_(0, ids, d_rows);
  accumulate(whole);
}

void LutV2Weight::begin_step(const StepInfo& step, const LowRank*) {
  const bool due =
      options_.recode_steps > 0 && step.step > 0 && step.step % options_.recode_steps == 0;
  if (due && parts_.latent.defined()) take_codes_of(parts_.latent, options_.hysteresis);
}

void LutV2Weight::take_codes_of(const at::Tensor& weight, double hysteresis) {
  const at::NoGradGuard no_grad;
  const LutFactors all = factors(at::kFloat);
  at::Tensor codes = unpack_codes(parts_.codes, all.bits, inputs());
  const auto value = [&](const at::Tensor& c) {
    return all.table.index_select(0, c.reshape({-1}).to(at::kInt)).view(c.sizes());
  };
  for (int64_t first = 0; first < outputs(); first += kRowsAtOnce) {
    const int64_t last = std::min(outputs(), first + kRowsAtOnce);
    const at::Tensor scales = at::matmul(all.left.slice(0, first, last), all.right);
    const at::Tensor wanted = weight.detach().slice(0, first, last).to(at::kFloat);
    at::Tensor old_codes = codes.slice(0, first, last);
    at::Tensor new_codes = nearest_codes(wanted, scales, all.table);
    if (hysteresis > 0) {
      const at::Tensor was = value(old_codes), is = value(new_codes), units = wanted / scales;
      const at::Tensor gain = (units - was).abs() - (units - is).abs();
      new_codes = at::where(gain.gt((was - is).abs() * hysteresis), new_codes, old_codes);
    }
    old_codes.copy_(new_codes);
  }
  parts_.codes = pack_codes(codes, all.bits);
}

void LutV2Weight::snap_magnitudes() {
  const at::NoGradGuard no_grad;
  parts_.g.copy_(as_half(parts_.g.detach()));
}

void LutV2Weight::visit(const std::string& prefix, Role, const TensorVisitor& visitor) {
  // What is published is what is in use: the values that the logits give now.
  if (parts_.table.logits.defined()) {
    const at::NoGradGuard no_grad;
    parts_.table.values.copy_(
        table_values(parts_.table, parts_.table.values.scalar_type(), /*half=*/true));
  }
  const auto show = [&](const char* part, at::Tensor& tensor, Role role, bool of_run = false) {
    if (!tensor.defined()) return;
    TensorSlot slot{prefix + part, &tensor, role};
    slot.in_master = role != Role::code;
    slot.of_run = of_run;
    slot.changes = role == Role::code && options_.recode_steps > 0;
    visitor(slot);
  };
  show(".weight", parts_.latent, Role::weight, /*of_run=*/options_.recode_steps == 0);
  show(".codes", parts_.codes, Role::code);
  show(".lut", parts_.table.values, Role::table);
  show(".lut_logits", parts_.table.logits, Role::table, /*of_run=*/true);
  show(".scale_A", parts_.a, Role::factor);
  show(".scale_B", parts_.b, Role::factor);
  show(".rank_magnitude", parts_.g, Role::factor);
}

void LutV2Weight::to(at::Device device) {
  for (at::Tensor* tensor : {&parts_.latent, &parts_.codes, &parts_.table.values,
                             &parts_.table.logits, &parts_.a, &parts_.b, &parts_.g})
    move(*tensor, device);
}

void LutV2Weight::bake() {
  if (parts_.baked) return;
  const at::NoGradGuard no_grad;
  options_.half = true;
  const LutFactors now = factors(parts_.a.scalar_type());
  parts_.a = now.left;
  parts_.b = now.right;
  parts_.table = {now.table, {}};
  parts_.g = at::ones_like(parts_.g.detach());
  parts_.baked = true;
}

LutForward lut_forward(const std::string& name) {
  if (name == "materialised") return LutForward::materialised;
  if (name == "factored") return LutForward::factored;
  if (name == "batched") return LutForward::batched;
  fail(ExitCode::configuration, "lut_forward: ", name,
       ": allowed are materialised, factored, batched");
}

at::Tensor nearest_codes(const at::Tensor& weight, const at::Tensor& scales,
                         const at::Tensor& table) {
  const at::NoGradGuard no_grad;
  const at::Tensor zero = scales.eq(0);
  const at::Tensor wanted = (weight / scales.masked_fill(zero, 1)).masked_fill(zero, 0);
  const at::Tensor middles = (table.slice(0, 1) + table.slice(0, 0, table.size(0) - 1)) / 2;
  return at::bucketize(wanted, middles, /*out_int32=*/true, /*right=*/false).to(at::kByte);
}

double relative_change(const at::Tensor& magnitudes, const at::Tensor& before) {
  const at::NoGradGuard no_grad;
  const at::Tensor size = before.detach().abs().clamp_min(1e-12);
  return ((magnitudes.detach() - before.detach()).abs() / size).max().item<double>();
}

}  // namespace isogrid
