#include "trainer/loss/next_token_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "models/cross_entropy.h"
#include "models/score.h"

namespace isogrid {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::ScalarType at_least_float(at::ScalarType type) {
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

void accumulate_head(WeightSource& head, const at::Tensor& d_logits, const at::Tensor& inputs) {
  head.accumulate(at::mm(d_logits.to(inputs.scalar_type()).t(), inputs));
}

/// body(first, last) over chunks of rows few enough that their logits are small.
template <typename Body>
void for_chunks(int64_t count, const WeightSource& head, const Body& body) {
  const int64_t size = loss_rows_per_chunk(head.outputs(), head.trains());
  for (int64_t first = 0; first < count; first += size) body(first, std::min(count, first + size));
}

class NextTokenLossFunction : public torch::autograd::Function<NextTokenLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& rows, const at::Tensor& labels, int64_t address,
                            double smoothing, double known_factor) {
    auto& head = *reinterpret_cast<WeightSource*>(address);
    const at::Tensor inputs = at::index_select(hidden, 0, rows);
    at::Tensor losses = at::empty({rows.size(0)}, hidden.options().dtype(at::kFloat));
    at::Tensor d_inputs = at::empty(inputs.sizes(), inputs.options());
    const at::Tensor weight = whole_weight(head, inputs.scalar_type(), inputs.device());
    const bool head_now = head.trains() && known_factor != 0;
    for_chunks(rows.size(0), head, [&](int64_t first, int64_t last) {
      const at::Tensor part = inputs.slice(0, first, last);
      const auto chunk = differentiate_cross_entropy(multiply(part, weight),
                                                     labels.slice(0, first, last), smoothing);
      losses.slice(0, first, last).copy_(chunk.losses);
      at::Tensor into = d_inputs.slice(0, first, last);
      const at::Tensor d_logits = chunk.d_logits.to(weight.scalar_type());
      at::mm_out(into, d_logits, weight);
      if (head_now) accumulate_head(head, d_logits, part * known_factor);
    });
    const bool head_later = head.trains() && !head_now;
    context->save_for_backward(
        {rows, d_inputs, head_later ? inputs : at::Tensor(), head_later ? labels : at::Tensor()});
    context->saved_data["head"] = address;
    context->saved_data["tokens"] = hidden.size(0);
    context->saved_data["smoothing"] = smoothing;
    context->saved_data["known_factor"] = known_factor;
    return losses;
  }

  static variable_list backward(AutogradContext* context, const variable_list& d_losses) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &rows = saved[0], &d_inputs = saved[1];
    auto& head = *reinterpret_cast<WeightSource*>(context->saved_data["head"].toInt());
    check_factor(d_losses[0], context->saved_data["known_factor"].toDouble());
    const at::Tensor scale = d_losses[0].unsqueeze(1);
    if (saved[2].defined())
      accumulate_head_again(head, saved[2], saved[3], scale,
                            context->saved_data["smoothing"].toDouble());
    at::Tensor d_hidden =
        at::zeros({context->saved_data["tokens"].toInt(), d_inputs.size(1)}, d_inputs.options());
    d_hidden.index_copy_(0, rows, (d_inputs * scale).to(d_inputs.scalar_type()));
    return {d_hidden, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  static void check_factor(const at::Tensor& d_losses, double known_factor) {
    if (known_factor == 0 || d_losses.numel() == 0) return;
    if (!d_losses.eq(static_cast<float>(known_factor)).all().item<bool>())
      fail(ExitCode::internal, "the loss was told that backward would scale it by ", known_factor);
  }

  static void accumulate_head_again(WeightSource& head, const at::Tensor& inputs,
                                    const at::Tensor& labels, const at::Tensor& scale,
                                    double smoothing) {
    const at::Tensor weight = whole_weight(head, inputs.scalar_type(), inputs.device());
    for_chunks(inputs.size(0), head, [&](int64_t first, int64_t last) {
      const at::Tensor part = inputs.slice(0, first, last);
      const auto chunk =
          differentiate_cross_entropy(multiply(part, weight), labels.slice(0, first, last),
                                      smoothing, scale.slice(0, first, last).squeeze(1));
      accumulate_head(head, chunk.d_logits, part);
    });
  }
};

}  // namespace

int64_t loss_rows_per_chunk(int64_t vocabulary, bool head_trains) {
  // The head's whole gradient is read and written once for each chunk: few rows would be all
  // traffic and no product.
  constexpr int64_t kFewestWhenTrained = 1024;
  const int64_t rows = head_rows_per_chunk(vocabulary);
  return head_trains ? std::max(rows, kFewestWhenTrained) : rows;
}

at::Tensor next_token_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                           const at::Tensor& labels, const LossOptions& options) {
  return NextTokenLossFunction::apply(hidden, rows, labels, reinterpret_cast<int64_t>(&head),
                                      options.label_smoothing, options.known_factor.value_or(0.0));
}

at::Tensor next_token_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                       const at::Tensor& rows, const at::Tensor& labels,
                                       double label_smoothing) {
  const at::Tensor logits = at::mm(at::index_select(hidden, 0, rows), weight.t())
                                .to(at_least_float(hidden.scalar_type()));
  const at::Tensor target = logits.gather(1, labels.unsqueeze(1)).squeeze(1);
  return at::logsumexp(logits, {1}) - target * (1 - label_smoothing) -
         logits.mean(1) * label_smoothing;
}

}  // namespace isogrid
