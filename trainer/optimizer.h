#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "configs/optimizer_config.h"
#include "trainer/trainables.h"

namespace isogrid {

struct UpdateRule;

/// What a rule keeps for one trained tensor: moments, codes, scales. Shapes are the rule's.
using SliceState = std::vector<at::Tensor>;

struct Optimizer {
  const UpdateRule* rule = nullptr;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t steps = 0;               // updates made
  std::vector<SliceState> states;  // one for each slice
};

Optimizer make_optimizer(const OptimizerConfig& config, const Trainables& trainables);

/// Moves the masters and writes the working copies. `gradient_scale` multiplies every gradient as
/// it is read: clipping and the loss scale in one.
void update(Optimizer& optimizer, Trainables& trainables, double learning_rate,
            double gradient_scale);

/// The optimizer's tensors under names of their own: "adamw.first_moment.model.norm.weight".
void visit_state(Optimizer& optimizer, const Trainables& trainables,
                 const std::function<void(const std::string& name, at::Tensor& tensor)>& visitor);

/// About what the rule keeps for each trained number, in bytes.
int64_t optimizer_bytes_per_number(const OptimizerConfig& config);

/// Length of the whole gradient, in float64, cut at fixed places: the number of threads changes no
/// bit. Not finite where a gradient is not.
double gradient_norm(const Trainables& trainables);

/// The first trained tensor whose gradient is not finite; empty: none.
std::string first_non_finite_gradient(const Trainables& trainables);

}  // namespace isogrid
