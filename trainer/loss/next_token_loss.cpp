#include "trainer/loss/next_token_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>

namespace isogrid {
namespace {

class LabelLoss final : public LogitsLoss {
 public:
  LabelLoss(at::Tensor labels, double smoothing)
      : labels_(std::move(labels)), smoothing_(smoothing) {}

  DifferentiatedCrossEntropy differentiate(at::Tensor logits, int64_t first,
                                           const at::Tensor& factors) const override {
    const at::Tensor labels = labels_.slice(0, first, first + logits.size(0));
    return differentiate_cross_entropy(std::move(logits), labels, smoothing_, factors);
  }

 private:
  at::Tensor labels_;
  double smoothing_;
};

}  // namespace

at::Tensor next_token_loss(const at::Tensor& hidden, WeightSource& head, const at::Tensor& rows,
                           const at::Tensor& labels, const LossOptions& options) {
  return head_loss(hidden, head, rows, std::make_shared<LabelLoss>(labels, options.label_smoothing),
                   options.known_factor);
}

at::Tensor next_token_loss_composition(const at::Tensor& hidden, const at::Tensor& weight,
                                       const at::Tensor& rows, const at::Tensor& labels,
                                       double label_smoothing) {
  const auto wide = hidden.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor logits = at::mm(at::index_select(hidden, 0, rows), weight.t()).to(wide);
  const at::Tensor target = logits.gather(1, labels.unsqueeze(1)).squeeze(1);
  return at::logsumexp(logits, {1}) - target * (1 - label_smoothing) -
         logits.mean(1) * label_smoothing;
}

}  // namespace isogrid
