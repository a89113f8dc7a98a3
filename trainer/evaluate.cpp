#include "trainer/evaluate.h"

#include <algorithm>

#include "trainer/forward_pass.h"

namespace isogrid {

std::optional<Evaluation> evaluate(const CausalLm& model,
                                   const std::shared_ptr<const RowStore>& rows,
                                   int64_t rows_per_batch, const std::function<bool()>& stop,
                                   const std::function<void(int64_t, int64_t)>& progress) {
  Evaluation result;
  double sum = 0;
  for (int64_t first = 0; first < rows->rows(); first += rows_per_batch) {
    if (stop && stop()) return std::nullopt;
    Batch batch;
    const int64_t last = std::min(rows->rows(), first + rows_per_batch);
    for (int64_t row = first; row < last; ++row) rows->append_row(row, batch);
    if (!batch.label_rows.empty()) sum += batch_loss_sum(model, batch);
    result.label_tokens += static_cast<int64_t>(batch.label_rows.size());
    if (progress) progress(last, rows->rows());
  }
  result.loss = sum / static_cast<double>(std::max<int64_t>(1, result.label_tokens));
  return result;
}

}  // namespace isogrid
