#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "trainer/loss/kd_loss.h"

namespace isogrid {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the node reads beside tensors; kept as long as the graph.
struct Gathered : torch::CustomClassHolder {
  Gathered(const TeacherOutcomes& outcomes, const KdParts& weights)
      : teacher(outcomes), parts(weights) {}
  TeacherOutcomes teacher;
  KdParts parts;
};

/// Tokens whose candidates' head rows exist at a time: some tens of megabytes.
int64_t tokens_at_a_time(int64_t candidates, int64_t hidden) {
  constexpr int64_t kElements = int64_t{4} << 20;
  return std::max<int64_t>(1, kElements / std::max<int64_t>(1, candidates * hidden));
}

/// One stretch of tokens: the head's rows [n, c, h] of their candidates, and the loss of them.
struct Stretch {
  at::Tensor inputs, ids, matrix;
  CandidateLosses loss;
};

Stretch stretch_of(const WeightSource& head, const at::Tensor& inputs, const Gathered& gathered,
                   int64_t first, int64_t last) {
  const auto cut = [&](const at::Tensor& x) { return x.slice(0, first, last); };
  Stretch part{.inputs = cut(inputs), .ids = cut(gathered.teacher.ids), .matrix = {}, .loss = {}};
  part.matrix = head.rows(part.ids.reshape({-1}), inputs.scalar_type())
                    .view({last - first, part.ids.size(1), inputs.size(1)});
  const at::Tensor logits = at::bmm(part.matrix, part.inputs.unsqueeze(2)).squeeze(2);
  const TeacherOutcomes teacher{.ids = part.ids,
                                .log_probs = cut(gathered.teacher.log_probs),
                                .probs = cut(gathered.teacher.probs),
                                .log_rest = {},
                                .rest = {}};
  part.loss = candidate_losses(logits, teacher, gathered.parts);
  return part;
}

/// Adds factor[token] x d_logits x input to the head's rows.
void accumulate_candidates(WeightSource& head, const Stretch& part, const at::Tensor& factors) {
  const at::Tensor d_logits = (part.loss.d_logits * factors).to(part.inputs.scalar_type());
  const at::Tensor d_rows = at::bmm(d_logits.unsqueeze(2), part.inputs.unsqueeze(1));
  head.accumulate_rows(part.ids.reshape({-1}), d_rows.view({-1, part.inputs.size(1)}));
}

template <typename Body>
void for_stretches(const at::Tensor& inputs, int64_t candidates, const Body& body) {
  const int64_t size = tokens_at_a_time(candidates, inputs.size(1));
  for (int64_t first = 0; first < inputs.size(0); first += size)
    body(first, std::min(inputs.size(0), first + size));
}

class GatheredLossFunction : public torch::autograd::Function<GatheredLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden,
                            const at::Tensor& rows, int64_t head_address, int64_t gathered_address,
                            double known_factor) {
    auto& head = *reinterpret_cast<WeightSource*>(head_address);
    const auto& gathered = *reinterpret_cast<const c10::intrusive_ptr<Gathered>*>(gathered_address);
    const at::Tensor inputs = at::index_select(hidden, 0, rows);
    const auto type = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    at::Tensor losses = at::empty({rows.size(0)}, hidden.options().dtype(type));
    at::Tensor d_inputs = at::empty(inputs.sizes(), inputs.options());
    const bool head_now = head.trains() && known_factor != 0;
    const at::Tensor factor = at::full({1, 1}, known_factor, losses.options());
    for_stretches(inputs, gathered->teacher.ids.size(1), [&](int64_t first, int64_t last) {
      const Stretch part = stretch_of(head, inputs, *gathered, first, last);
      losses.slice(0, first, last).copy_(part.loss.losses);
      const at::Tensor d_logits = part.loss.d_logits.to(inputs.scalar_type()).unsqueeze(1);
      d_inputs.slice(0, first, last).copy_(at::bmm(d_logits, part.matrix).squeeze(1));
      if (head_now) accumulate_candidates(head, part, factor);
    });
    const bool head_later = head.trains() && !head_now;
    context->save_for_backward({rows, d_inputs, head_later ? inputs : at::Tensor()});
    context->saved_data["gathered"] = c10::IValue::make_capsule(gathered);
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
    if (saved[2].defined()) {
      auto& head = *reinterpret_cast<WeightSource*>(context->saved_data["head"].toInt());
      const auto gathered =
          c10::static_intrusive_pointer_cast<Gathered>(context->saved_data["gathered"].toCapsule());
      for_stretches(saved[2], gathered->teacher.ids.size(1), [&](int64_t first, int64_t last) {
        accumulate_candidates(head, stretch_of(head, saved[2], *gathered, first, last),
                              scale.slice(0, first, last));
      });
    }
    at::Tensor d_hidden =
        at::zeros({context->saved_data["tokens"].toInt(), d_inputs.size(1)}, d_inputs.options());
    d_hidden.index_copy_(0, rows, (d_inputs * scale).to(d_inputs.scalar_type()));
    return {d_hidden, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor gathered_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                         const TeacherOutcomes& teacher, const KdParts& parts,
                         std::optional<double> known_factor) {
  const auto gathered = c10::make_intrusive<Gathered>(teacher, parts);
  return GatheredLossFunction::apply(hidden, rows, reinterpret_cast<int64_t>(&head),
                                     reinterpret_cast<int64_t>(&gathered),
                                     known_factor.value_or(0.0));
}

}  // namespace isogrid
