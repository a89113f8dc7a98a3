#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "data/row_store.h"
#include "models/causal_lm.h"
#include "trainer/loss/kd_loss.h"

namespace isogrid {

struct Evaluation {
  double loss = 0;  // mean over the label tokens of all rows
  int64_t label_tokens = 0;
  std::optional<double> divergence = {};  // from the teacher, where there is one: also a mean
  std::optional<double> agreement = {};   // share of tokens where both hold the same likeliest
};

/// The mean over several sets, each by its label tokens.
class EvaluationMeans {
 public:
  void add(const Evaluation& part);
  Evaluation result() const;

 private:
  Evaluation sums_;
};

/// Every row once, in order. With `kd` the rows have a teacher. Empty when `stop` asked for the end
/// between two batches.
std::optional<Evaluation> evaluate(const CausalLm& model,
                                   const std::shared_ptr<const RowStore>& rows,
                                   int64_t rows_per_batch, const std::optional<KdSettings>& kd,
                                   const std::function<bool()>& stop,
                                   const std::function<void(int64_t, int64_t)>& progress);

}  // namespace isogrid
