#include "models/projection.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/matvec.h"
#include "models/cpu_rows.h"
#include "models/observe.h"
#include "quant/frozen_weight.h"

namespace isogrid {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor run_prologue(const Projection& projection, const at::Tensor& x, const at::Tensor& up) {
  switch (projection.prologue) {
    case Prologue::rms_norm:
      return rms_norm(x, projection.norm);
    case Prologue::swiglu:
      return swiglu(x, up);
    case Prologue::none:
      break;
  }
  return x;
}

/// A few rows against a resident matrix: limited by memory, so the weight is read once, as it lies.
bool suits_matvec(const at::Tensor& x, const at::Tensor& weight) {
  return x.size(0) <= kernels::kMaxMatvecRows && cpu_kernel_element(x).has_value() &&
         cpu_kernel_element(weight) == cpu_kernel_element(x);
}

at::Tensor matvec(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& onto) {
  const at::Tensor wide = x.to(at::kFloat);
  const int64_t inputs = weight.size(1), outputs = weight.size(0), rows = x.size(0);
  at::Tensor y = at::empty({rows, outputs}, x.options());
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, inputs));
  at::parallel_for(0, outputs, grain, [&](int64_t first, int64_t last) {
    kernels::matvec_kernels().matvec(*cpu_kernel_element(weight), wide.const_data_ptr<float>(),
                                     weight.const_data_ptr(),
                                     onto.defined() ? onto.const_data_ptr() : nullptr,
                                     y.mutable_data_ptr(), rows, inputs, outputs, first, last);
  });
  return y;
}

at::Tensor apply_weight(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                        const at::Tensor& onto) {
  const bool addable = !onto.defined() || cpu_kernel_element(onto) == cpu_kernel_element(x);
  if (x.size(0) > 0 && suits_matvec(x, weight) && addable) {
    at::Tensor y = matvec(x, weight, onto);
    return bias.defined() ? y.add_(bias) : y;
  }
  if (!onto.defined()) return at::linear(x, weight, bias);
  at::Tensor y = at::addmm(onto, x, weight.t());
  return bias.defined() ? y.add_(bias) : y;
}

/// A group's input as each of its linears sees it. Neighbours mostly see the same.
class RoundedInput {
 public:
  explicit RoundedInput(const at::Tensor& input) : input_(input) {}

  const at::Tensor& of(const Linear& linear) {
    if (linear.activations == ActivationRounding::none || !linear.weight->rounds()) return input_;
    if (!last_.defined() || how_ != linear.activations)
      last_ = rounded_activations(input_, linear.activations);
    how_ = linear.activations;
    return last_;
  }

 private:
  const at::Tensor& input_;
  at::Tensor last_;
  ActivationRounding how_ = ActivationRounding::none;
};

/// Does a gradient of this linear's weight depend on its input?
bool needs_input(const Linear& linear) {
  return linear.weight->trains() || (linear.adapter && linear.rounds_sum);
}

/// A few rows against a weight in few bits: a stretch of it is expanded at a time and multiplied
/// while it lies in the cache. The sums are those of a resident matrix, bit for bit.
bool suits_stretches(const at::Tensor& x, const WeightSource& weight, const at::Tensor& onto) {
  return x.size(0) > 0 && x.size(0) <= kernels::kMaxMatvecRows && cpu_kernel_element(x) &&
         (!onto.defined() || cpu_kernel_element(onto) == cpu_kernel_element(x)) &&
         dynamic_cast<const FrozenWeight*>(&weight) != nullptr;
}

at::Tensor multiply_by_stretches(const at::Tensor& x, const WeightSource& weight,
                                 const at::Tensor& onto) {
  constexpr int64_t kStretchOfWeight = 1 << 16;  // numbers
  const at::Tensor wide = x.to(at::kFloat).contiguous();
  const int64_t inputs = weight.inputs(), outputs = weight.outputs(), rows = x.size(0);
  const int64_t stretch = std::max<int64_t>(1, kStretchOfWeight / std::max<int64_t>(1, inputs));
  at::Tensor y = at::empty({rows, outputs}, x.options());
  at::parallel_for(0, outputs, stretch, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;  // threads of a pool begin with graphs on
    const at::Tensor room = at::empty({std::min(stretch, end - begin), inputs}, x.options());
    for (int64_t first = begin; first < end; first += stretch) {
      const int64_t count = std::min(stretch, end - first);
      at::Tensor part = room.slice(0, 0, count);
      weight.materialise(part, first, first + count, nullptr);
      const at::Tensor addend =
          onto.defined() ? onto.slice(1, first, first + count).contiguous() : at::Tensor();
      at::Tensor product =
          rows == 1 ? y.slice(1, first, first + count) : at::empty({rows, count}, x.options());
      kernels::matvec_kernels().matvec(*cpu_kernel_element(x), wide.const_data_ptr<float>(),
                                       part.const_data_ptr(),
                                       addend.defined() ? addend.const_data_ptr() : nullptr,
                                       product.mutable_data_ptr(), rows, inputs, count, 0, count);
      if (rows > 1) y.slice(1, first, first + count).copy_(product);
    }
  });
  return y;
}

/// x times a weight, however it is kept.
at::Tensor apply_source(const at::Tensor& x, const WeightSource& weight, const at::Tensor& bias,
                        const at::Tensor& onto) {
  if (!suits_stretches(x, weight, onto))
    return apply_weight(x, whole_weight(weight, x.scalar_type(), x.device()), bias, onto);
  at::Tensor y = multiply_by_stretches(x, weight, onto);
  return bias.defined() ? y.add_(bias) : y;
}

at::Tensor detached_bias(const Linear& linear) {
  return linear.bias.defined() ? linear.bias.detach() : linear.bias;
}

at::Tensor compute_weight(const Linear& linear, const at::Tensor& like) {
  const auto change = rounded_change(linear);
  if (!change) return whole_weight(*linear.weight, like.scalar_type(), like.device());
  at::Tensor weight =
      at::empty({linear.weight->outputs(), linear.weight->inputs()},
                at::TensorOptions().dtype(like.scalar_type()).device(like.device()));
  linear.weight->materialise(weight, 0, linear.weight->outputs(), &*change);
  return weight;
}

/// x times the linear's weight; where adapter and weight are rounded together, times their sum.
at::Tensor linear_product(const Linear& linear, const at::Tensor& x, const at::Tensor& onto) {
  if (rounded_change(linear))
    return apply_weight(x, compute_weight(linear, x), detached_bias(linear), onto);
  at::Tensor y = linear.weight->own_product(x);
  if (!y.defined()) return apply_source(x, *linear.weight, detached_bias(linear), onto);
  if (linear.bias.defined()) y = y + linear.bias.detach();
  return onto.defined() ? y + onto : y;
}

/// magnitude / length of every row.
at::Tensor row_factor(const Adapter& adapter) {
  return adapter.magnitude.detach().to(adapter.lengths.scalar_type()) / adapter.lengths;
}

/// The product with the changed weight before its rows are brought to their length.
at::Tensor changed_product(const Linear& linear, const at::Tensor& weight,
                           const AdapterInputs& adapted, size_t i) {
  at::Tensor product = apply_weight(adapted.dropped[i], weight, {}, {});
  return product.addmm_(adapted.inner[i], linear.adapter->b.detach().t());
}

/// DoRA: what the adapter changes is scaled row by row; dropout touches only that part.
at::Tensor dora_forward(const Linear& linear, const at::Tensor& weight, const at::Tensor& input,
                        const AdapterInputs& adapted, size_t i, const at::Tensor& onto) {
  const at::Tensor factor = row_factor(*linear.adapter).to(input.scalar_type());
  at::Tensor y = changed_product(linear, weight, adapted, i).mul_(factor);
  if (!adapted.dropped[i].is_same(input))
    y.add_(apply_weight(input, weight, {}, {}))
        .sub_(apply_weight(adapted.dropped[i], weight, {}, {}));
  if (linear.bias.defined()) y.add_(linear.bias.detach());
  return onto.defined() ? y.add_(onto) : y;
}

variable_list project_forward(const Projection& projection, const at::Tensor& x,
                              const at::Tensor& up, const at::Tensor& onto,
                              const TrainingNoise* noise) {
  const at::NoGradGuard no_grad;
  const at::Tensor input = run_prologue(projection, x, up);
  InputObserver::show(projection, input);
  const AdapterInputs adapted = adapter_inputs(projection.linears, input, noise);
  RoundedInput rounded(input);
  variable_list outputs;
  outputs.reserve(projection.linears.size());
  for (size_t i = 0; i < projection.linears.size(); ++i) {
    const Linear& linear = projection.linears[i];
    if (linear.adapter && linear.adapter->magnitude.defined()) {
      const at::Tensor weight = compute_weight(linear, input);
      outputs.push_back(dora_forward(linear, weight, input, adapted, i, onto));
      continue;
    }
    at::Tensor y = linear_product(linear, rounded.of(linear), onto);
    if (adds_adapter(linear)) y.addmm_(adapted.inner[i], linear.adapter->b.detach().t());
    outputs.push_back(std::move(y));
  }
  return outputs;
}

at::Tensor column_sums(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x.sum(0) : x.sum(0, false, at::kFloat);
}

/// Adds the gradients of one linear's weight and bias, and of an adapter that is rounded with it.
void accumulate_linear(const Linear& linear, const at::Tensor& input, const at::Tensor& dy) {
  if (const auto change = rounded_change(linear))
    rounded_adapter_backward(*linear.adapter,
                             linear.weight->through_rounding(at::mm(dy.t(), input), &*change));
  else if (linear.weight->trains())
    linear.weight->accumulate(at::mm(dy.t(), input));
  at::Tensor bias = linear.bias;
  if (bias.defined() && bias.requires_grad()) add_gradient(bias, column_sums(dy));
}

/// Adds the magnitude's gradient and returns that of the product before it.
at::Tensor backward_through_magnitude(const Linear& linear, const at::Tensor& weight,
                                      const AdapterInputs& adapted, size_t i,
                                      const at::Tensor& dy) {
  at::Tensor magnitude = linear.adapter->magnitude;
  if (magnitude.requires_grad())
    add_gradient(magnitude, column_sums(dy * changed_product(linear, weight, adapted, i)) /
                                linear.adapter->lengths);
  return dy * row_factor(*linear.adapter).to(dy.scalar_type());
}

/// dL/dinput of a group from the gradients of its outputs; those of what trains are added to it.
at::Tensor group_backward(const Projection& projection, const at::Tensor& input,
                          const variable_list& d_outputs, const TrainingNoise* noise) {
  const AdapterInputs adapted = adapter_inputs(projection.linears, input, noise);
  variable_list d_products(projection.linears.size());
  RoundedInput rounded(input);
  at::Tensor d_input;
  const auto flow_back = [&](const at::Tensor& d_product, const at::Tensor& weight) {
    if (d_input.defined())
      d_input.addmm_(d_product, weight);
    else
      d_input = at::mm(d_product, weight);
  };
  for (size_t i = 0; i < projection.linears.size(); ++i) {
    if (!d_outputs[i].defined()) continue;
    const Linear& linear = projection.linears[i];
    const at::Tensor dy = d_outputs[i].contiguous();
    accumulate_linear(linear, needs_input(linear) ? rounded.of(linear) : input, dy);
    const at::Tensor weight = compute_weight(linear, dy);
    d_products[i] = dy;
    if (linear.adapter && linear.adapter->magnitude.defined()) {
      d_products[i] = backward_through_magnitude(linear, weight, adapted, i, dy);
      if (!adapted.dropped[i].is_same(input)) {
        // The part that was not dropped is the plain product; the rest went through the dropout.
        const at::Tensor d_dropped = at::mm(d_products[i] - dy, weight);
        flow_back(dy, weight);
        d_input.add_(dropout(d_dropped, *noise, linear.adapter->dropout, linear.adapter->stream));
        continue;
      }
    }
    flow_back(d_products[i], weight);
  }
  if (d_input.defined()) adapters_backward(projection.linears, adapted, d_products, noise, d_input);
  return d_input;
}

class ProjectionFunction : public torch::autograd::Function<ProjectionFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& up,
                               const at::Tensor& onto, bool adds, int64_t projection,
                               int64_t noise) {
    context->save_for_backward({x, up});
    context->saved_data["projection"] = projection;
    context->saved_data["noise"] = noise;
    context->saved_data["adds"] = adds;
    return project_forward(*reinterpret_cast<const Projection*>(projection), x, up,
                           adds ? onto : at::Tensor(),
                           reinterpret_cast<const TrainingNoise*>(noise));
  }

  static variable_list backward(AutogradContext* context, const variable_list& d_outputs) {
    const at::NoGradGuard no_grad;
    const auto& projection =
        *reinterpret_cast<const Projection*>(context->saved_data["projection"].toInt());
    const auto* noise =
        reinterpret_cast<const TrainingNoise*>(context->saved_data["noise"].toInt());
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &up = saved[1];
    const at::Tensor d_input =
        group_backward(projection, run_prologue(projection, x, up), d_outputs, noise);

    variable_list gradients(6);  // of x, up, onto; the other arguments are no tensors
    if (!d_input.defined()) return gradients;
    if (context->saved_data["adds"].toBool()) gradients[2] = d_outputs[0];
    gradients[0] = d_input;
    if (projection.prologue == Prologue::rms_norm)
      gradients[0] = rms_norm_backward(x, projection.norm, d_input);
    if (projection.prologue == Prologue::swiglu) {
      const SwigluGradients inner = swiglu_backward(x, up, d_input);
      gradients[0] = inner.gate;
      gradients[1] = inner.up;
    }
    return gradients;
  }
};

}  // namespace

std::vector<at::Tensor> project(const Projection& projection, const at::Tensor& x,
                                const at::Tensor& up, const at::Tensor& onto,
                                const TrainingNoise* noise) {
  const auto wants = [](const at::Tensor& t) { return t.defined() && t.requires_grad(); };
  const bool graph = at::GradMode::is_enabled() && (wants(x) || wants(up) || wants(onto));
  if (!graph) return project_forward(projection, x, up, onto, noise);
  // A Function takes no undefined tensor: x stands in for one and gets no second gradient.
  return ProjectionFunction::apply(x, up.defined() ? up : x, onto.defined() ? onto : x,
                                   onto.defined(), reinterpret_cast<int64_t>(&projection),
                                   reinterpret_cast<int64_t>(noise));
}

namespace {

at::Tensor linear_composition(const Linear& linear, const at::Tensor& weight,
                              const at::Tensor& input) {
  if (!linear.adapter) return at::linear(input, weight, linear.bias);
  const Adapter& adapter = *linear.adapter;
  at::Tensor changed = weight + at::mm(adapter.b, adapter.a) * adapter.scale;
  if (adapter.magnitude.defined())
    changed = changed * (adapter.magnitude / changed.detach().norm(2, {1})).unsqueeze(1);
  return at::linear(input, changed, linear.bias);
}

}  // namespace

std::vector<at::Tensor> project_composition(const Projection& projection,
                                            const std::vector<at::Tensor>& weights,
                                            const at::Tensor& x, const at::Tensor& up,
                                            const at::Tensor& onto) {
  at::Tensor input = x;
  if (projection.prologue == Prologue::rms_norm) input = rms_norm_composition(x, projection.norm);
  if (projection.prologue == Prologue::swiglu) input = swiglu_composition(x, up);
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < weights.size(); ++i)
    outputs.push_back(linear_composition(projection.linears[i], weights[i], input));
  if (onto.defined()) outputs[0] = outputs[0] + onto;
  return outputs;
}

at::Tensor multiply(const at::Tensor& x, const at::Tensor& weight) {
  return apply_weight(x, weight, {}, {});
}

at::Tensor multiply(const at::Tensor& x, const WeightSource& weight) {
  return apply_source(x, weight, {}, {});
}

}  // namespace isogrid
