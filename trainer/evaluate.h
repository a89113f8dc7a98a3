#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "data/row_store.h"
#include "models/causal_lm.h"

namespace isogrid {

struct Evaluation {
  double loss = 0;  // mean over the label tokens of all rows
  int64_t label_tokens = 0;
};

/// Every row once, in order. Empty when `stop` asked for the end between two batches.
std::optional<Evaluation> evaluate(const CausalLm& model,
                                   const std::shared_ptr<const RowStore>& rows,
                                   int64_t rows_per_batch, const std::function<bool()>& stop,
                                   const std::function<void(int64_t, int64_t)>& progress);

}  // namespace isogrid
