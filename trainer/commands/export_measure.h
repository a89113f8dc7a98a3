#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/causal_lm.h"
#include "trainer/commands/measured_rows.h"

namespace isogrid {

/// How far a model is from the one it was made of, over the same labelled tokens.
struct Fidelity {
  double loss = 0;      // mean -log p(label)
  double kl = 0;        // mean KL(original || this), in nats
  double same_top = 0;  // share of positions with the same most likely token
  int64_t tokens = 0;
};

/// What the original says of some rows: kept as hidden states, from which its logits are made again
/// in chunks, so that neither model's logits ever exist whole. `original` and `rows` must outlive
/// it.
class FidelityReference {
 public:
  FidelityReference(const CausalLm& original, const MeasuredRows& rows);

  double loss() const { return loss_; }
  int64_t tokens() const { return labels_.size(0); }
  const MeasuredRows& rows() const { return rows_; }
  Fidelity of(const CausalLm& model) const;

 private:
  CausalLm original_;  // computing in float32
  const MeasuredRows& rows_;
  at::Tensor hidden_, labels_;
  double loss_ = 0;
};

struct GenerationFigures {
  double tokens_per_second = 0;
  int64_t peak_resident_bytes = 0;  // of the whole process, the program itself included
};

/// A short answer by `trainer generate` in a process of its own, as a user would run it; none where
/// that process did not end well.
std::optional<GenerationFigures> measure_generation(
    const std::vector<std::string>& model_arguments);

}  // namespace isogrid
