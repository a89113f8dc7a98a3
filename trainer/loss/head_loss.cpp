#include "trainer/loss/head_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "models/score.h"

namespace isogrid {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Keeps the loss alive as long as the graph.
struct HeldLoss : torch::CustomClassHolder {
  explicit HeldLoss(std::shared_ptr<const LogitsLoss> held) : loss(std::move(held)) {}
  std::shared_ptr<const LogitsLoss> loss;
};

/// A few rows of the head's gradient at a time: still in a cache when they are added.
void accumulate_head(WeightSource& head, const at::Tensor& d_logits, const at::Tensor& inputs) {
  const at::Tensor by_token = d_logits.to(inputs.scalar_type()).t();
  const int64_t rows = head_gradient_rows(inputs.size(1));
  for (int64_t first = 0; first < by_token.size(0); first += rows)
    if (!head.accumulate_slice(first, at::mm(by_token.slice(0, first, first + rows), inputs)))
      return head.accumulate(at::mm(by_token, inputs));
}

/// body(first, last) over chunks of rows few enough that their logits are small.
template <typename Body>
void for_chunks(int64_t count, const WeightSource& head, const Body& body) {
  const int64_t size = loss_rows_per_chunk(head.outputs(), head.trains());
  for (int64_t first = 0; first < count; first += size) body(first, std::min(count, first + size));
}

class HeadLossFunction : public torch::autograd::Function<HeadLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& rows, int64_t head_address, int64_t loss_address,
                            double known_factor) {
    auto& head = *reinterpret_cast<WeightSource*>(head_address);
    const auto& loss = *reinterpret_cast<const std::shared_ptr<const LogitsLoss>*>(loss_address);
    const at::Tensor inputs = at::index_select(hidden, 0, rows);
    const auto type = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor losses = at::empty({rows.size(0)}, hidden.options().dtype(type));
    at::Tensor d_inputs = at::empty(inputs.sizes(), inputs.options());
    const at::Tensor weight = whole_weight(head, inputs.scalar_type(), inputs.device());
    const bool head_now = head.trains() && known_factor != 0;
    for_chunks(rows.size(0), head, [&](int64_t first, int64_t last) {
      const at::Tensor part = inputs.slice(0, first, last);
      const auto chunk = loss->differentiate(multiply(part, weight), first, {});
      losses.slice(0, first, last).copy_(chunk.losses);
      at::Tensor into = d_inputs.slice(0, first, last);
      const at::Tensor d_logits = chunk.d_logits.to(weight.scalar_type());
      at::mm_out(into, d_logits, weight);
      if (head_now) accumulate_head(head, d_logits, part * known_factor);
    });
    const bool head_later = head.trains() && !head_now;
    context->save_for_backward({rows, d_inputs, head_later ? inputs : at::Tensor()});
    context->saved_data["loss"] = c10::IValue::make_capsule(c10::make_intrusive<HeldLoss>(loss));
    context->saved_data["head"] = head_address;
    context->saved_data["tokens"] = hidden.size(0);
    context->saved_data["known_factor"] = known_factor;
    return losses;
  }

  static variable_list backward(AutogradContext* context, const variable_list& d_losses) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &rows = saved[0], &d_inputs = saved[1];
    check_known_factor(d_losses[0], context->saved_data["known_factor"].toDouble());
    const at::Tensor scale = d_losses[0].unsqueeze(1);
    if (saved[2].defined()) accumulate_head_again(context, saved[2], d_losses[0]);
    at::Tensor d_hidden =
        at::zeros({context->saved_data["tokens"].toInt(), d_inputs.size(1)}, d_inputs.options());
    d_hidden.index_copy_(0, rows, (d_inputs * scale).to(d_inputs.scalar_type()));
    return {d_hidden, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  static void accumulate_head_again(AutogradContext* context, const at::Tensor& inputs,
                                    const at::Tensor& scale) {
    auto& head = *reinterpret_cast<WeightSource*>(context->saved_data["head"].toInt());
    const auto held =
        c10::static_intrusive_pointer_cast<HeldLoss>(context->saved_data["loss"].toCapsule());
    const at::Tensor weight = whole_weight(head, inputs.scalar_type(), inputs.device());
    for_chunks(inputs.size(0), head, [&](int64_t first, int64_t last) {
      const at::Tensor part = inputs.slice(0, first, last);
      const auto chunk =
          held->loss->differentiate(multiply(part, weight), first, scale.slice(0, first, last));
      accumulate_head(head, chunk.d_logits, part);
    });
  }
};

}  // namespace

int64_t loss_rows_per_chunk(int64_t vocabulary, bool head_trains) {
  // The head's whole gradient is read and written once for each chunk: few rows would be all
  // traffic and no product. Many, of a large vocabulary, would be most of the run's memory.
  constexpr int64_t kFewestWhenTrained = 1024, kMostLogits = int64_t{96} << 20;
  const int64_t rows = head_rows_per_chunk(vocabulary);
  if (!head_trains) return rows;
  return std::max(rows,
                  std::min(kFewestWhenTrained, kMostLogits / std::max<int64_t>(1, vocabulary)));
}

int64_t head_gradient_rows(int64_t hidden) {
  constexpr int64_t kNumbers = int64_t{1} << 23;
  return std::max<int64_t>(1, kNumbers / hidden);
}

void check_known_factor(const at::Tensor& d_losses, double known_factor) {
  if (known_factor == 0 || d_losses.numel() == 0) return;
  const double factor = d_losses.scalar_type() == at::kDouble
                            ? known_factor
                            : static_cast<double>(static_cast<float>(known_factor));
  if (!d_losses.eq(factor).all().item<bool>())
    fail(ExitCode::internal, "the loss was told that backward would scale it by ", known_factor);
}

at::Tensor head_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                     std::shared_ptr<const LogitsLoss> loss, std::optional<double> known_factor) {
  return HeadLossFunction::apply(hidden, rows, reinterpret_cast<int64_t>(&head),
                                 reinterpret_cast<int64_t>(&loss), known_factor.value_or(0.0));
}

}  // namespace isogrid
