#include "trainer/fit_mlps.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/log.h"
#include "models/lut_training.h"
#include "models/projection.h"
#include "trainer/optimizer.h"
#include "trainer/trainables.h"

namespace isogrid {
namespace {

constexpr int64_t kFitTokens = 4096;  // that are looked at
constexpr int64_t kTokensPerStep = 256;
constexpr double kShareOfShape = 0.8;
constexpr double kLargestLoss = 10;

/// One micro-batch on its way through the blocks.
struct FitRows {
  at::Tensor x;  // [tokens, hidden]
  TokenLayout layout;
};

std::vector<FitRows> embedded_rows(const CausalLm& model, const BatchStream& batches) {
  std::vector<FitRows> all;
  int64_t tokens = 0;
  for (int64_t step = 0; tokens < kFitTokens && step < batches.steps_per_epoch(); ++step)
    for (int64_t m = 0; m < batches.micro_batches(step) && tokens < kFitTokens; ++m) {
      const Batch batch = batches.at(step, m);
      const at::Tensor ids = at::tensor(batch.input_ids, at::TensorOptions().dtype(at::kLong));
      all.push_back({model.embedding->rows(ids.to(model.device), model.compute),
                     lay_out(model.config, batch.document_ends, {}, model.device)});
      tokens += batch.tokens();
    }
  return all;
}

/// The residual between attention and MLP.
at::Tensor after_attention(const Block& block, const FitRows& rows) {
  const std::vector<at::Tensor> qkv = project(block.qkv, rows.x);
  const at::Tensor attended = attend(block.attention, qkv[0], qkv[1], qkv[2], rows.layout);
  return project(block.output, attended, {}, rows.x)[0];
}

struct Mlp {
  const Projection& gate_up;
  const Projection& down;

  at::Tensor operator()(const at::Tensor& x) const {
    const std::vector<at::Tensor> inner = project(gate_up, x);
    return project(down, inner[0], inner[1])[0];
  }
};

/// Marks what lut_train names of this block's MLP; false: nothing of it trains.
bool mark_mlp(CausalLm& model, size_t block, const LutConfig& config) {
  const std::string prefix = concat("model.layers.", block, ".mlp.");
  bool trains = false;
  visit_linears(model, [&](const std::string& name, Linear& linear) {
    if (name.starts_with(prefix)) trains = train_lut_linear(name, linear, config) || trains;
  });
  return trains;
}

/// Nothing trains; tables show the values that their logits give now.
void unmark_everything(CausalLm& model) {
  model.visit([](const TensorSlot& slot) {
    if (!slot.tensor->requires_grad()) return;
    *slot.tensor = slot.tensor->detach();
  });
}

double relative_error(const at::Tensor& y, const at::Tensor& wanted) {
  return ((y - wanted).to(at::kDouble).square().sum() / wanted.to(at::kDouble).square().sum())
      .item<double>();
}

/// One MLP against what it gave before.
class MlpFit {
 public:
  MlpFit(CausalLm& model, Mlp mlp, at::Tensor input, at::Tensor wanted, const RunConfig& config)
      : mlp_(mlp), input_(std::move(input)), wanted_(std::move(wanted)), config_(config) {
    const auto wide = model.compute == at::kDouble ? at::kDouble : at::kFloat;
    trainables_ = lay_out_trainables(model, {model.compute, wide, model.device});
  }

  /// The relative errors before and after.
  std::pair<double, double> run() {
    const double before = error();
    const at::Tensor start = trainables_.master.clone();
    OptimizerConfig settings = config_.optimizer;
    settings.weight_decay = 0;
    Optimizer optimizer = make_optimizer(settings, trainables_);
    for (int64_t step = 0; step < config_.lut.lut_local_steps; ++step) {
      trainables_.gradient.zero_();
      take_gradient(step);
      if (!std::isfinite(gradient_norm(trainables_))) break;
      update(optimizer, trainables_, config_.optimizer.learning_rate, /*gradient_scale=*/1);
    }
    const double after = error();
    if (after < before) return {before, after};
    trainables_.master.copy_(start);
    refresh_working(trainables_);
    return {before, before};
  }

 private:
  double error() const {
    const at::NoGradGuard no_grad;
    return relative_error(mlp_(input_), wanted_);
  }

  void take_gradient(int64_t step) {
    const at::AutoGradMode graph(true);
    const int64_t tokens = input_.size(0), count = std::min(kTokensPerStep, tokens);
    const int64_t first = step * count % (tokens - count + 1);
    const at::Tensor x = input_.slice(0, first, first + count).detach().requires_grad_();
    const at::Tensor loss = reconstruction_loss(mlp_(x), wanted_.slice(0, first, first + count));
    torch::autograd::backward({loss});
  }

  Mlp mlp_;
  at::Tensor input_, wanted_;
  const RunConfig& config_;
  Trainables trainables_;
};

at::Tensor joined(const std::vector<at::Tensor>& parts) { return at::cat(parts); }

}  // namespace

std::vector<DenseMlp> dense_mlps(const CausalLm& model) {
  std::vector<DenseMlp> dense;
  for (const Block& block : model.blocks)
    dense.push_back({block.gate_up.linears[0].weight, block.gate_up.linears[1].weight,
                     block.down.linears[0].weight});
  return dense;
}

at::Tensor reconstruction_loss(const at::Tensor& y, const at::Tensor& wanted) {
  const auto wide = y.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor a = y.to(wide), b = wanted.to(wide);
  const auto shaped = [](const at::Tensor& t) {
    return t / (t.square().mean(-1, /*keepdim=*/true) + 1e-6).sqrt();
  };
  const at::Tensor shape = at::mse_loss(shaped(a), shaped(b));
  const at::Tensor size = at::mse_loss(a, b) / b.square().mean().clamp_min(1e-8);
  return (shape * kShareOfShape + size * (1 - kShareOfShape)).clamp_max(kLargestLoss);
}

void fit_mlps(CausalLm& model, const std::vector<DenseMlp>& dense, const BatchStream& batches,
              const RunConfig& config, const std::function<void(int64_t done)>& progress) {
  const at::NoGradGuard no_grad;
  std::vector<FitRows> rows = embedded_rows(model, batches);
  double before = 0, after = 0;
  for (size_t i = 0; i < model.blocks.size(); ++i) {
    Block& block = model.blocks[i];
    std::vector<at::Tensor> middles;
    for (const FitRows& each : rows) middles.push_back(after_attention(block, each));
    Projection gate_up = block.gate_up, down = block.down;
    gate_up.linears[0].weight = dense[i][0];
    gate_up.linears[1].weight = dense[i][1];
    down.linears[0].weight = dense[i][2];
    const at::Tensor input = joined(middles);
    if (mark_mlp(model, i, config.lut)) {
      const auto errors =
          MlpFit(model, {block.gate_up, block.down}, input, Mlp{gate_up, down}(input), config)
              .run();
      before += errors.first;
      after += errors.second;
      unmark_everything(model);
    }
    for (size_t m = 0; m < rows.size(); ++m)
      rows[m].x = middles[m] + Mlp{block.gate_up, block.down}(middles[m]);
    progress(static_cast<int64_t>(i) + 1);
  }
  const auto blocks = static_cast<double>(std::max<size_t>(1, model.blocks.size()));
  log_info(concat("lut_layer_by_layer: the MLPs' outputs are off by ", before / blocks,
                  " of their square before, ", after / blocks, " after"));
}

}  // namespace isogrid
