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

variable_list project_forward(const Projection& projection, const at::Tensor& x,
                              const at::Tensor& up, const at::Tensor& onto) {
  const at::Tensor input = run_prologue(projection, x, up);
  variable_list outputs;
  outputs.reserve(projection.linears.size());
  for (const Linear& linear : projection.linears)
    outputs.push_back(
        apply_weight(input, whole_weight(*linear.weight, input.scalar_type(), input.device()),
                     linear.bias.defined() ? linear.bias.detach() : linear.bias, onto));
  return outputs;
}

/// Adds the gradients of one linear's weight and bias.
void accumulate_linear(const Linear& linear, const at::Tensor& input, const at::Tensor& dy) {
  if (linear.weight->trains()) linear.weight->accumulate(at::mm(dy.t(), input));
  at::Tensor bias = linear.bias;
  if (bias.defined() && bias.requires_grad())
    add_gradient(bias, dy.scalar_type() == at::kDouble ? dy.sum(0) : dy.sum(0, false, at::kFloat));
}

class ProjectionFunction : public torch::autograd::Function<ProjectionFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& up,
                               const at::Tensor& onto, bool adds, int64_t address) {
    context->save_for_backward({x, up});
    context->saved_data["projection"] = address;
    context->saved_data["adds"] = adds;
    return project_forward(*reinterpret_cast<const Projection*>(address), x, up,
                           adds ? onto : at::Tensor());
  }

  static variable_list backward(AutogradContext* context, const variable_list& d_outputs) {
    const auto& projection =
        *reinterpret_cast<const Projection*>(context->saved_data["projection"].toInt());
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &up = saved[1];
    const at::Tensor input = run_prologue(projection, x, up);

    at::Tensor d_input;
    for (size_t i = 0; i < projection.linears.size(); ++i) {
      if (!d_outputs[i].defined()) continue;
      const at::Tensor dy = d_outputs[i].contiguous();
      const Linear& linear = projection.linears[i];
      accumulate_linear(linear, input, dy);
      const at::Tensor weight = whole_weight(*linear.weight, dy.scalar_type(), dy.device());
      if (d_input.defined())
        d_input.addmm_(dy, weight);
      else
        d_input = at::mm(dy, weight);
    }
    variable_list gradients(5);  // of x, up, onto; the last two arguments are no tensors
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
                                const at::Tensor& up, const at::Tensor& onto) {
  const auto wants = [](const at::Tensor& t) { return t.defined() && t.requires_grad(); };
  const bool graph = at::GradMode::is_enabled() && (wants(x) || wants(up) || wants(onto));
  if (!graph) return project_forward(projection, x, up, onto);
  // A Function takes no undefined tensor: x stands in for one and gets no second gradient.
  return ProjectionFunction::apply(x, up.defined() ? up : x, onto.defined() ? onto : x,
                                   onto.defined(), reinterpret_cast<int64_t>(&projection));
}

std::vector<at::Tensor> project_composition(const Projection& projection,
                                            const std::vector<at::Tensor>& weights,
                                            const at::Tensor& x, const at::Tensor& up,
                                            const at::Tensor& onto) {
  at::Tensor input = x;
  if (projection.prologue == Prologue::rms_norm) input = rms_norm_composition(x, projection.norm);
  if (projection.prologue == Prologue::swiglu) input = swiglu_composition(x, up);
  std::vector<at::Tensor> outputs;
  for (size_t i = 0; i < weights.size(); ++i)
    outputs.push_back(at::linear(input, weights[i], projection.linears[i].bias));
  if (onto.defined()) outputs[0] = outputs[0] + onto;
  return outputs;
}

at::Tensor multiply(const at::Tensor& x, const WeightSource& weight) {
  return apply_weight(x, whole_weight(weight, x.scalar_type(), x.device()), {}, {});
}

}  // namespace isogrid
