#include "quant/fake_quant.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "quant/row_chunks.h"
#include "quant/scale_fit.h"

namespace isogrid {
namespace {

constexpr float kSmallestGain = 1.0f / 16;

/// Rows [first, last) of the latent weight with their change, float32 on the host.
at::Tensor wide_rows(const at::Tensor& latent, int64_t first, int64_t last, const LowRank* delta) {
  const at::Tensor rows = latent.detach().slice(0, first, last);
  if (delta == nullptr) return rows.to(at::kCPU, at::kFloat).contiguous();
  const at::Tensor change = at::matmul(delta->b.detach().slice(0, first, last).to(at::kFloat),
                                       delta->a.detach().to(at::kFloat));
  return (rows.to(at::kFloat) + change * delta->scale).cpu().contiguous();
}

std::byte* record_at(const at::Tensor& records, int64_t row) {
  return static_cast<std::byte*>(records.data_ptr()) + row * records.size(1);
}

void check_options(const std::string& name, const Grid& grid, const FakeQuantOptions& options,
                   int64_t columns) {
  if (grid.block() > 0 && columns % grid.block() != 0)
    fail(ExitCode::configuration, "qat_target: ", grid.name(), ": ", name, " has rows of ", columns,
         ", which blocks of ", grid.block(),
         " do not divide; name it in qat_exclude or choose a grid of smaller blocks");
  const bool keeps = options.scales != ScaleMode::derived || grid.searches();
  if (keeps && !grid.recodes())
    fail(ExitCode::configuration, "qat_scale_mode: ", grid.name(),
         " derives its scales at every use; only qat_scale_mode: derived is possible");
  if (options.scales == ScaleMode::learned && grid.scales(columns) == 0)
    fail(ExitCode::configuration, "qat_scale_mode: learned: the scales of ", grid.name(),
         " cannot be learned; derived and frozen are possible");
  if ((options.clipped || options.scales == ScaleMode::learned) && !grid.has_limits())
    fail(ExitCode::configuration, "qat_ste: clipped: ", grid.name(),
         " does not say where it ends; use plain");
}

}  // namespace

FakeQuantWeight::FakeQuantWeight(const std::string& name, at::Tensor latent,
                                 std::shared_ptr<const Grid> grid, const FakeQuantOptions& options)
    : grid_(std::move(grid)), options_(options), latent_(std::move(latent)) {
  check_options(name, *grid_, options_, inputs());
  if (learns())
    gain_ = at::ones({outputs(), grid_->scales(inputs())}, at::TensorOptions().dtype(at::kFloat));
}

bool FakeQuantWeight::keeps_records() const {
  return options_.scales != ScaleMode::derived || grid_->searches();
}

/// Scales that stay are worth fitting, where the grid has not done it itself.
bool FakeQuantWeight::fits_scales() const {
  return options_.scales != ScaleMode::derived && !grid_->searches() && grid_->scales(inputs()) > 0;
}

bool FakeQuantWeight::renews_records(const StepInfo& step) const {
  const int64_t since = step.step - options_.start_step;
  if (since == 0) return true;
  if (options_.scales != ScaleMode::derived) return false;
  const auto frozen = static_cast<int64_t>(
      std::ceil(options_.freeze_share * static_cast<double>(step.total_steps)));
  return since % options_.refresh_steps == 0 && step.step < step.total_steps - frozen;
}

void FakeQuantWeight::begin_step(const StepInfo& step, const LowRank* delta) {
  active_ = step.step >= options_.start_step;
  changed_ = delta != nullptr;
  if (!active_ || !keeps_records()) return;
  if (!kept_.defined())
    kept_ =
        at::zeros({outputs(), grid_->row_bytes(inputs())}, at::TensorOptions().dtype(at::kByte));
  if (!renews_records(step)) return;
  settled_ = at::Tensor();
  const at::Tensor wide = wide_rows(latent_, 0, outputs(), delta);
  for_row_chunks(outputs(), inputs(), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* values = wide.const_data_ptr<float>() + row * inputs();
      grid_->encode(values, nullptr, inputs(), record_at(kept_, row));
      if (fits_scales()) fit_scales(*grid_, values, inputs(), record_at(kept_, row));
    }
  });
}

at::Tensor FakeQuantWeight::gains() const {
  if (!learns()) return {};
  return gain_.detach().to(at::kCPU, at::kFloat).clamp_min(kSmallestGain).contiguous();
}

/// The record of row `index` of the weight, whose values are `row`; `gains` are gains().
void FakeQuantWeight::write_record(const float* row, int64_t index, const at::Tensor& gains,
                                   std::byte* record) const {
  const int64_t columns = inputs();
  if (!keeps_records()) return grid_->encode(row, nullptr, columns, record);
  std::copy_n(record_at(kept_, index), kept_.size(1), record);
  if (gains.defined()) {
    const int64_t count = gains.size(1);
    std::vector<float> scales(static_cast<size_t>(count));
    grid_->read_scales(record, columns, scales.data());
    const float* gain = gains.const_data_ptr<float>() + index * count;
    for (int64_t i = 0; i < count; ++i) scales[static_cast<size_t>(i)] *= gain[i];
    grid_->write_scales(scales.data(), columns, record);
  }
  grid_->recode(row, columns, record);
}

/// Row i of `wide` is row ids[i] of the weight; without ids, row i.
void FakeQuantWeight::round_rows(const at::Tensor& wide, const at::Tensor& ids,
                                 at::Tensor& out) const {
  const int64_t columns = inputs();
  const at::Tensor gain = gains();
  const bool direct = out.is_cpu() && out.is_contiguous() && out.scalar_type() == at::kFloat;
  for_row_chunks(wide.size(0), columns, [&](int64_t first, int64_t last) {
    std::vector<float> rounded(direct ? 0 : static_cast<size_t>((last - first) * columns));
    std::vector<std::byte> record(static_cast<size_t>(grid_->row_bytes(columns)));
    float* to = direct ? out.mutable_data_ptr<float>() + first * columns : rounded.data();
    for (int64_t i = first; i < last; ++i, to += columns) {
      const float* row = wide.const_data_ptr<float>() + i * columns;
      if (!keeps_records()) {
        grid_->round_trip(row, nullptr, columns, to);
        continue;
      }
      write_record(row, ids.const_data_ptr<int64_t>()[i], gain, record.data());
      grid_->decode(record.data(), columns, to);
    }
    if (!direct)
      out.slice(0, first, last)
          .copy_(at::from_blob(rounded.data(), {last - first, columns}, at::kFloat));
  });
}

void FakeQuantWeight::materialise(at::Tensor& out, int64_t first, int64_t last,
                                  const LowRank* delta) const {
  const at::NoGradGuard no_grad;
  if (!active_ && delta == nullptr) {
    out.copy_(latent_.detach().slice(0, first, last));
    return;
  }
  const at::Tensor wide = wide_rows(latent_, first, last, delta);
  if (active_)
    round_rows(wide, at::arange(first, last, at::kLong), out);
  else
    out.copy_(wide);
}

bool FakeQuantWeight::is_settled() const { return active_ && !changed_ && !trains(); }

at::Tensor FakeQuantWeight::resident(at::ScalarType compute) const {
  if (is_settled()) {
    if (settled_.defined() && settled_.scalar_type() == compute) return settled_;
    settled_ = at::empty(latent_.sizes(), latent_.options().dtype(compute).requires_grad(false));
    materialise(settled_, 0, outputs(), nullptr);
    return settled_;
  }
  return !active_ && latent_.scalar_type() == compute ? latent_.detach() : at::Tensor();
}

at::Tensor FakeQuantWeight::rows(const at::Tensor& ids, at::ScalarType compute) const {
  const at::NoGradGuard no_grad;
  const at::Tensor picked = at::index_select(latent_.detach(), 0, ids);
  if (!active_) return picked.to(compute);
  at::Tensor out = at::empty(picked.sizes(), picked.options().dtype(compute));
  round_rows(wide_rows(picked, 0, picked.size(0), nullptr), ids.cpu().to(at::kLong).contiguous(),
             out);
  return out;
}

at::Tensor FakeQuantWeight::records(const LowRank* delta) const {
  const at::NoGradGuard no_grad;
  at::Tensor all =
      at::empty({outputs(), grid_->row_bytes(inputs())}, at::TensorOptions().dtype(at::kByte));
  const at::Tensor wide = wide_rows(latent_, 0, outputs(), delta), gain = gains();
  for_row_chunks(outputs(), inputs(), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      write_record(wide.const_data_ptr<float>() + row * inputs(), row, gain, record_at(all, row));
  });
  return all;
}

/// The gradient of rows `ids` with respect to the latent ones. A learned scale s = gain * start
/// takes that of s * round(x / s), rounding being straight through: (rounded - x) / s inside the
/// grid, the outermost code beyond it.
at::Tensor FakeQuantWeight::gradient_rows(const at::Tensor& wide, const at::Tensor& ids,
                                          const at::Tensor& d_rows) {
  const int64_t columns = inputs(), count = wide.size(0);
  const at::Tensor gain = gains();
  const int64_t gain_count = learns() ? gain.size(1) : 1;
  at::Tensor d_wide =
      d_rows.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
  at::Tensor d_gain = at::zeros({count, gain_count}, at::kFloat);
  for_row_chunks(count, columns, [&](int64_t first, int64_t last) {
    std::vector<std::byte> record(static_cast<size_t>(grid_->row_bytes(columns)));
    std::vector<float> parts(3 * static_cast<size_t>(columns));
    float *rounded = parts.data(), *below = rounded + columns, *above = below + columns;
    for (int64_t i = first; i < last; ++i) {
      const float* row = wide.const_data_ptr<float>() + i * columns;
      float* d = d_wide.mutable_data_ptr<float>() + i * columns;
      write_record(row, ids.const_data_ptr<int64_t>()[i], gain, record.data());
      grid_->decode(record.data(), columns, rounded);
      grid_->limits(record.data(), columns, below, above);
      float* to = d_gain.mutable_data_ptr<float>() + i * gain_count;
      for (int64_t c = 0; c < columns; ++c) {
        const bool inside = row[c] >= below[c] && row[c] <= above[c];
        to[c * gain_count / columns] += d[c] * (inside ? rounded[c] - row[c] : rounded[c]);
        if (options_.clipped && !inside) d[c] = 0.0f;
      }
    }
  });
  if (learns() && gain_.requires_grad()) {
    at::Tensor all = at::zeros_like(gain);
    all.index_add_(0, ids, d_gain / gain.index_select(0, ids));
    add_gradient(gain_, all.to(gain_.device()));
  }
  return d_wide;
}

at::Tensor FakeQuantWeight::through_rounding(const at::Tensor& d_weight, const LowRank* delta) {
  if (passes_gradient()) return d_weight;
  const at::NoGradGuard no_grad;
  const at::Tensor d_latent = gradient_rows(wide_rows(latent_, 0, outputs(), delta),
                                            at::arange(outputs(), at::kLong), d_weight);
  return d_latent.to(d_weight.device());
}

bool FakeQuantWeight::trains() const {
  return latent_.requires_grad() || (gain_.defined() && gain_.requires_grad());
}

void FakeQuantWeight::accumulate(const at::Tensor& d_weight) {
  const at::Tensor d_latent = through_rounding(d_weight, nullptr);
  if (latent_.requires_grad()) add_gradient(latent_, d_latent);
}

void FakeQuantWeight::accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) {
  const at::NoGradGuard no_grad;
  at::Tensor d_latent = d_rows;
  if (!passes_gradient()) {
    const at::Tensor picked = at::index_select(latent_.detach(), 0, ids);
    d_latent = gradient_rows(wide_rows(picked, 0, picked.size(0), nullptr),
                             ids.cpu().to(at::kLong).contiguous(), d_rows)
                   .to(d_rows.device());
  }
  if (!latent_.requires_grad()) return;
  at::Tensor& gradient = latent_.mutable_grad();
  if (!gradient.defined()) gradient = at::zeros_like(latent_.detach());
  gradient.index_add_(0, ids, d_latent.to(gradient.scalar_type()));
}

void FakeQuantWeight::visit(const std::string& prefix, Role role, const TensorVisitor& visitor) {
  TensorSlot latent{prefix + ".weight", &latent_, role};
  latent.in_master = true;
  visitor(latent);
  if (gain_.defined()) {
    TensorSlot gain{prefix + ".scale_gain", &gain_, Role::factor};
    gain.in_master = gain.of_run = true;
    visitor(gain);
  }
  if (kept_.defined()) {
    TensorSlot kept{prefix + ".records", &kept_, Role::code};
    kept.of_run = kept.changes = true;
    visitor(kept);
  }
}

void FakeQuantWeight::to(at::Device device) {
  // Rounding is done on the host, where its bits are defined; only the latent weight moves.
  const bool trained = latent_.requires_grad();
  settled_ = at::Tensor();
  latent_ = latent_.detach().to(device);
  latent_.requires_grad_(trained);
}

}  // namespace isogrid
