#include "trainer/forward_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/score.h"
#include "trainer/loss/next_token_loss.h"

namespace isogrid {
namespace {

at::Tensor as_tensor(const std::vector<int64_t>& numbers) {
  return at::tensor(numbers, at::TensorOptions().dtype(at::kLong));
}

/// The labelled rows and what they should predict, on the model's device.
struct Wanted {
  at::Tensor rows, labels;
};

Wanted wanted_of(const CausalLm& model, const Batch& batch) {
  const at::Tensor rows = as_tensor(batch.label_rows);
  return {rows.to(model.device), as_tensor(batch.labels).index_select(0, rows).to(model.device)};
}

at::Tensor labelled_hidden(const CausalLm& model, const Batch& batch, const Wanted& wanted) {
  const TokenLayout layout = lay_out(model.config, batch.document_ends, {}, model.device);
  return forward_hidden(model, as_tensor(batch.input_ids), layout).index_select(0, wanted.rows);
}

double sum_in_double(const at::Tensor& losses) {
  const at::Tensor host = losses.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* values = host.const_data_ptr<double>();
  double sum = 0;  // in order, so that nothing but the rows themselves decides the bits
  for (int64_t i = 0; i < host.numel(); ++i) sum += values[i];
  return sum;
}

}  // namespace

ForwardPass::ForwardPass(const CausalLm& model, const Batch& batch, const PassSettings& settings,
                         double factor)
    : layout_(lay_out(model.config, batch.document_ends, {}, model.device)),
      noise_(training_noise(settings.noise, batch.epoch, batch.document_ends, batch.sample_ids,
                            model.config.hidden)),
      factor_(factor) {
  const at::AutoGradMode graph(true);
  const Wanted wanted = wanted_of(model, batch);
  const at::Tensor hidden =
      forward_hidden(model, as_tensor(batch.input_ids), layout_, {},
                     {.noise = &noise_, .recompute_blocks = settings.recompute_blocks});
  losses_ =
      settings.kd
          ? distillation_loss(hidden, *model.head, batch, wanted.rows, wanted.labels, *settings.kd,
                              factor)
          : next_token_loss(hidden, *model.head, wanted.rows, wanted.labels,
                            {.label_smoothing = settings.label_smoothing, .known_factor = factor});
}

double ForwardPass::loss_sum() const { return sum_in_double(losses_); }

void ForwardPass::backward() const {
  torch::autograd::backward({losses_}, {at::full_like(losses_.detach(), factor_)});
}

PassSettings pass_at(const PassSettings& settings, int64_t step, int64_t total) {
  PassSettings now = settings;
  if (settings.distillation) now.kd = settings_at(*settings.distillation, step, total);
  return now;
}

double batch_loss_sum(const CausalLm& model, const Batch& batch) {
  const at::NoGradGuard no_grad;
  const Wanted wanted = wanted_of(model, batch);
  return sum_in_double(label_losses(model, labelled_hidden(model, batch, wanted), wanted.labels));
}

KdFigures batch_kd_figures(const CausalLm& model, const Batch& batch, const KdSettings& settings) {
  const at::NoGradGuard no_grad;
  const Wanted wanted = wanted_of(model, batch);
  return kd_figures(model, labelled_hidden(model, batch, wanted), wanted.labels, *batch.teacher,
                    settings);
}

}  // namespace isogrid
