#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "configs/kd_config.h"
#include "models/causal_lm.h"
#include "trainer/loss/kd_loss.h"

namespace isogrid {

/// How a run learns from its teacher.
struct Distillation {
  KdSettings settings;
  std::optional<double> hard_top1_end;  // reached, in a straight line, at the last step
};
/// `seed`: of the run.
Distillation distillation_of(const KdConfig& config, uint64_t seed);
/// The settings of step `step` of `total`, counted from 0.
KdSettings settings_at(const Distillation& distillation, int64_t step, int64_t total);

/// The loss of every labelled row, float32 [n], in the graph of `hidden`: the divergence from the
/// batch's teacher and what else the settings weigh in. `rows` and `labels` int64 [n] are those of
/// the batch. Logits exist in chunks, and not at all where only candidates count.
at::Tensor distillation_loss(const at::Tensor& hidden, WeightSource& head, const Batch& batch,
                             const at::Tensor& rows, const at::Tensor& labels,
                             const KdSettings& settings, std::optional<double> known_factor = {});

/// The same from plain differentiable operators, the specification: `weight` is the head's matrix.
at::Tensor distillation_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                         const Batch& batch, const at::Tensor& rows,
                                         const at::Tensor& labels, const KdSettings& settings);

/// How far a model is from a batch's teacher, summed over the labelled rows.
struct KdFigures {
  double divergence = 0;  // T^2 counted; nothing else weighed in
  double label_loss = 0;
  int64_t agreed = 0;  // rows whose likeliest token is the teacher's
};
KdFigures kd_figures(const CausalLm& model, const at::Tensor& hidden, const at::Tensor& labels,
                     const TeacherTokens& teacher, const KdSettings& settings);

}  // namespace isogrid
