#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "configs/kd_config.h"
#include "data/row_store.h"
#include "models/causal_lm.h"

namespace isogrid {

struct Training;

/// A model a run is held to by a divergence on a few rows, whatever else it learns from: what that
/// model holds likely at their labelled tokens. A function of the model and the rows, so a run that
/// goes on makes it again.
struct Anchor {
  std::shared_ptr<const RowStore> rows;
  std::vector<int64_t> places;            // rows looked at in turn
  std::vector<TeacherTokens> references;  // of each
  double weight = 0;
  int64_t interval = 1;  // steps from one look to the next
};

/// kd_anchor: the model as it is before the first step.
inline constexpr const char* kAnchorStart = "start";
/// Guesses that are kept of the model for each token; everything else is one outcome more.
inline constexpr int64_t kAnchorGuesses = 128;

/// Has `model` read kd_anchor_samples of the rows, drawn by `seed`. Of its vocabulary the first
/// `vocabulary` tokens count. Logits that are not finite: 80.
Anchor make_anchor(const KdConfig& config, uint64_t seed, std::shared_ptr<const RowStore> rows,
                   const CausalLm& model, int64_t vocabulary);

/// Where a look is due at `step`: adds `scale` times the gradient of the weighted divergence, a
/// mean over the row's labels, and returns that loss. Else 0.
double hold_to_anchor(Training& training, int64_t step, double scale);

/// The most that references to rows of so many labels take.
int64_t anchor_bytes(const KdConfig& config, int64_t labels_per_row);

}  // namespace isogrid
