#pragma once
#include "data/batch.h"
#include "models/causal_lm.h"
#include "trainer/loss/distillation.h"

namespace isogrid {

/// What a training pass does beyond the model's maths.
struct PassSettings {
  NoiseSettings noise = {};
  double label_smoothing = 0;
  bool recompute_blocks = false;
  std::optional<Distillation> distillation = {};
  /// The distillation as it is at this step; ForwardPass reads it.
  std::optional<KdSettings> kd = {};
};
/// The settings of step `step` of `total`, counted from 0.
PassSettings pass_at(const PassSettings& settings, int64_t step, int64_t total);

/// A micro-batch in the model: made, it holds the loss of every labelled row and the graph behind
/// it. The graph points into this object, so it stays where it is.
class ForwardPass {
 public:
  /// `factor` is what backward() will multiply the sum of the losses with.
  ForwardPass(const CausalLm& model, const Batch& batch, const PassSettings& settings,
              double factor);
  ForwardPass(const ForwardPass&) = delete;
  ForwardPass& operator=(const ForwardPass&) = delete;

  double loss_sum() const;  // over the labelled rows
  /// Adds the gradient of `factor` times the sum to that of everything that trains.
  void backward() const;

 private:
  TokenLayout layout_;
  TrainingNoise noise_;
  at::Tensor losses_;
  double factor_;
};

/// Sum of the losses of a batch without a graph.
double batch_loss_sum(const CausalLm& model, const Batch& batch);
/// How far the model is from the batch's teacher, as sums.
KdFigures batch_kd_figures(const CausalLm& model, const Batch& batch, const KdSettings& settings);

}  // namespace isogrid
