#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "models/activation_rounding.h"
#include "models/adapter.h"
#include "models/prologue.h"
#include "quant/weight_source.h"

namespace isogrid {

/// y = x W^T + bias, with W from wherever the source keeps it, and the adapter's change of W.
struct Linear {
  std::shared_ptr<WeightSource> weight;
  at::Tensor bias = {};  // [out] or undefined
  std::optional<Adapter> adapter = {};
  /// The source rounds what it serves: the sum of weight and adapter, not the weight alone.
  bool rounds_sum = false;
  /// How the engine it is trained for rounds what the weight is multiplied with, while it rounds.
  ActivationRounding activations = ActivationRounding::none;
};

/// What is done to a projection's input first, inside it.
enum class Prologue { none, rms_norm, swiglu };

/// A group of linears that share an input: (rms_norm -> q, k, v), (o), (rms_norm -> gate, up),
/// (swiglu -> down). A decoder block is four of these around one attention.
struct Projection {
  Prologue prologue = Prologue::none;
  RmsNorm norm;  // of Prologue::rms_norm
  std::vector<Linear> linears;
};

/// The one place where weights multiply. `x` [tokens, in] is the residual (rms_norm), the gate
/// (swiglu, with `up`), or the input itself; returns one [tokens, out] per linear. `onto`
/// [tokens, out], for a group of one, is added to the product before it is rounded. `noise` is
/// that of a training pass; without it nothing is dropped.
///
/// One autograd node: it keeps only x (and up); backward recomputes the prologue and asks each
/// weight again. Gradients of what trains go to the tensors' own .grad(), not through the graph,
/// so `x` must require a gradient for anything to train. The projection and the noise must outlive
/// the graph.
std::vector<at::Tensor> project(const Projection& projection, const at::Tensor& x,
                                const at::Tensor& up = {}, const at::Tensor& onto = {},
                                const TrainingNoise* noise = nullptr);

/// The same from plain differentiable operators, the specification of project().
/// `weights` are the linears' matrices, as leaves when their gradient is wanted; the adapters'
/// tensors are read as leaves too. Nothing is dropped.
std::vector<at::Tensor> project_composition(const Projection& projection,
                                            const std::vector<at::Tensor>& weights,
                                            const at::Tensor& x, const at::Tensor& up = {},
                                            const at::Tensor& onto = {});

/// x [rows, in] times a weight source: the head and the sampler use it on their own.
at::Tensor multiply(const at::Tensor& x, const WeightSource& weight);
/// The same with its whole_weight(), for many products with one.
at::Tensor multiply(const at::Tensor& x, const at::Tensor& weight);

}  // namespace isogrid
