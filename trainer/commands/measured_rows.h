#pragma once
#include <string>
#include <vector>

#include "configs/run_config.h"
#include "data/batch.h"
#include "models/causal_lm.h"

namespace isogrid {

/// Rows to measure a model on, and where they came from, for people.
struct MeasuredRows {
  std::vector<Batch> rows;
  std::string origin;

  int64_t labels() const;
};

/// The rows the settings hold out, else those they train on, else the bundled text with every token
/// labelled. At most `most_tokens` tokens (0: all), whole rows.
MeasuredRows rows_to_measure(const RunConfig& config, int64_t most_tokens = 0);

/// The same model computing in float32; the matrices stay as they are kept.
CausalLm measured_model(const CausalLm& stored);

}  // namespace isogrid
