#pragma once
#include <vector>

#include "configs/run_config.h"
#include "core/json.h"
#include "data/rows.h"
#include "models/causal_lm.h"
#include "trainer/evaluate.h"

namespace isogrid {

/// The rows a run with this config evaluates on, with their teacher where it has one; without any,
/// those it trains on.
std::vector<EvalRows> rows_of_evaluation(const RunConfig& config);

/// Everything the rows tell of a model; `each` gets the figures of every set that has a name.
Evaluation evaluated_rows(const CausalLm& model, const RunConfig& config,
                          const std::vector<EvalRows>& sets, Json& each);

}  // namespace isogrid
