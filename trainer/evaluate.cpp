#include "trainer/evaluate.h"

#include <algorithm>

#include "trainer/forward_pass.h"

namespace isogrid {
namespace {

/// Sums over all rows looked at so far.
struct Sums {
  KdFigures figures;
  int64_t labels = 0;

  void add(const CausalLm& model, const Batch& batch, const std::optional<KdSettings>& kd) {
    if (batch.label_rows.empty()) return;
    labels += static_cast<int64_t>(batch.label_rows.size());
    if (!kd) {
      figures.label_loss += batch_loss_sum(model, batch);
      return;
    }
    const KdFigures more = batch_kd_figures(model, batch, *kd);
    figures.label_loss += more.label_loss;
    figures.divergence += more.divergence;
    figures.agreed += more.agreed;
  }
};

}  // namespace

void EvaluationMeans::add(const Evaluation& part) {
  const auto count = static_cast<double>(part.label_tokens);
  sums_.loss += part.loss * count;
  sums_.label_tokens += part.label_tokens;
  if (!part.divergence) return;
  sums_.divergence = sums_.divergence.value_or(0) + *part.divergence * count;
  sums_.agreement = sums_.agreement.value_or(0) + *part.agreement * count;
}

Evaluation EvaluationMeans::result() const {
  const auto count = static_cast<double>(std::max<int64_t>(1, sums_.label_tokens));
  Evaluation mean = sums_;
  mean.loss /= count;
  if (mean.divergence) *mean.divergence /= count;
  if (mean.agreement) *mean.agreement /= count;
  return mean;
}

std::optional<Evaluation> evaluate(const CausalLm& model,
                                   const std::shared_ptr<const RowStore>& rows,
                                   int64_t rows_per_batch, const std::optional<KdSettings>& kd,
                                   const std::function<bool()>& stop,
                                   const std::function<void(int64_t, int64_t)>& progress) {
  Sums sums;
  for (int64_t first = 0; first < rows->rows(); first += rows_per_batch) {
    if (stop && stop()) return std::nullopt;
    Batch batch;
    const int64_t last = std::min(rows->rows(), first + rows_per_batch);
    for (int64_t row = first; row < last; ++row) rows->append_row(row, batch);
    sums.add(model, batch, kd);
    if (progress) progress(last, rows->rows());
  }
  const auto count = static_cast<double>(std::max<int64_t>(1, sums.labels));
  Evaluation result{.loss = sums.figures.label_loss / count, .label_tokens = sums.labels};
  if (kd) {
    result.divergence = sums.figures.divergence / count;
    result.agreement = static_cast<double>(sums.figures.agreed) / count;
  }
  return result;
}

}  // namespace isogrid
