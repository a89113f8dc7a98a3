#pragma once
#include <vector>

#include "data/batch.h"
#include "tests/trainer/small_training.h"

namespace isogrid::test {

inline CausalLm small_model() {
  CausalLm model = build_model(small_decoder());
  initialise_randomly(model, 3, at::kFloat);
  return model;
}

/// Two rows, the first of two documents.
inline std::vector<Batch> small_batches() {
  std::vector<Batch> rows(2);
  for (int64_t i = 0; i < 15; ++i) rows[0].input_ids.push_back((7 * i * i + 3) % 61);
  rows[0].document_ends = {6, 15};
  for (int64_t i = 0; i < 4; ++i) rows[1].input_ids.push_back((11 * i + 5) % 61);
  rows[1].document_ends = {4};
  return rows;
}

}  // namespace isogrid::test
