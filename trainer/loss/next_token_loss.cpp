#include "trainer/loss/next_token_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "models/score.h"

namespace isogrid {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::ScalarType at_least_float(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

/// A chunk's logits in at least float32 and the log-sum-exp of every row.
struct ChunkLogits {
  at::Tensor logits, log_sum_exp;
};

ChunkLogits chunk_logits(const at::Tensor& inputs, const WeightSource& head) {
  ChunkLogits chunk;
  chunk.logits = multiply(inputs, head).to(at_least_float(inputs.scalar_type()));
  chunk.log_sum_exp = at::logsumexp(chunk.logits, {1});
  return chunk;
}

/// softmax - onehot, in place of the logits.
at::Tensor logit_gradient(ChunkLogits& chunk, const at::Tensor& labels) {
  at::Tensor& gradient = chunk.logits;
  gradient.sub_(chunk.log_sum_exp.unsqueeze(1)).exp_();
  const at::Tensor index = labels.unsqueeze(1);
  gradient.scatter_add_(1, index, -at::ones_like(index, gradient.scalar_type()));
  return gradient;
}

class NextTokenLossFunction : public torch::autograd::Function<NextTokenLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& rows, const at::Tensor& labels, int64_t address) {
    auto& head = *reinterpret_cast<WeightSource*>(address);
    const at::Tensor inputs = at::index_select(hidden, 0, rows);
    const int64_t count = rows.size(0), size = head_rows_per_chunk(head.outputs());
    at::Tensor losses = at::empty({count}, hidden.options().dtype(at::kFloat));
    at::Tensor d_inputs = at::empty(inputs.sizes(), inputs.options());
    const at::Tensor weight = whole_weight(head, inputs.scalar_type(), inputs.device());
    for (int64_t first = 0; first < count; first += size) {
      const int64_t last = std::min(count, first + size);
      const at::Tensor wanted = labels.slice(0, first, last);
      ChunkLogits chunk = chunk_logits(inputs.slice(0, first, last), head);
      const at::Tensor picked = chunk.logits.gather(1, wanted.unsqueeze(1)).squeeze(1);
      losses.slice(0, first, last).copy_(chunk.log_sum_exp - picked);
      at::Tensor into = d_inputs.slice(0, first, last);
      at::mm_out(into, logit_gradient(chunk, wanted).to(weight.scalar_type()), weight);
    }
    context->save_for_backward({rows, d_inputs, head.trains() ? inputs : at::Tensor(),
                                head.trains() ? labels : at::Tensor()});
    context->saved_data["head"] = address;
    context->saved_data["tokens"] = hidden.size(0);
    return losses;
  }

  static variable_list backward(AutogradContext* context, const variable_list& d_losses) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &rows = saved[0], &d_inputs = saved[1];
    auto& head = *reinterpret_cast<WeightSource*>(context->saved_data["head"].toInt());
    const at::Tensor scale = d_losses[0].unsqueeze(1);
    if (head.trains()) accumulate_head(head, saved[2], saved[3], scale);
    at::Tensor d_hidden =
        at::zeros({context->saved_data["tokens"].toInt(), d_inputs.size(1)}, d_inputs.options());
    d_hidden.index_copy_(0, rows, (d_inputs * scale).to(d_inputs.scalar_type()));
    return {d_hidden, at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  static void accumulate_head(WeightSource& head, const at::Tensor& inputs,
                              const at::Tensor& labels, const at::Tensor& scale) {
    const int64_t count = inputs.size(0), size = head_rows_per_chunk(head.outputs());
    for (int64_t first = 0; first < count; first += size) {
      const int64_t last = std::min(count, first + size);
      const at::Tensor part = inputs.slice(0, first, last);
      ChunkLogits chunk = chunk_logits(part, head);
      const at::Tensor gradient =
          logit_gradient(chunk, labels.slice(0, first, last)).mul_(scale.slice(0, first, last));
      head.accumulate(at::mm(gradient.to(part.scalar_type()).t(), part));
    }
  }
};

}  // namespace

at::Tensor next_token_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                           const at::Tensor& labels) {
  return NextTokenLossFunction::apply(hidden, rows, labels, reinterpret_cast<int64_t>(&head));
}

at::Tensor next_token_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                       const at::Tensor& rows, const at::Tensor& labels) {
  const at::Tensor logits = at::mm(at::index_select(hidden, 0, rows), weight.t())
                                .to(at_least_float(hidden.scalar_type()));
  return at::logsumexp(logits, {1}) - logits.gather(1, labels.unsqueeze(1)).squeeze(1);
}

}  // namespace isogrid
