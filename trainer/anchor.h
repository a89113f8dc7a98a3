#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "configs/kd_config.h"
#include "data/row_store.h"
#include "trainer/teacher_guesses.h"

namespace isogrid {

struct Training;

/// A model a run is held to by a divergence on a few rows, whatever else it learns from.
struct Anchor {
  std::shared_ptr<const RowStore> rows;
  KdMeta kept;                             // what is kept of that model for each labelled token
  std::vector<int64_t> places;             // rows looked at in turn
  std::vector<TeacherGuesses> references;  // what it held likely in each
  double weight = 0;
  int64_t interval = 1;  // steps from one look to the next
};

/// kd_anchor: the model as it is before the first step.
inline constexpr const char* kAnchorStart = "start";
/// Guesses that are kept of the model for each token; everything else is one outcome more.
inline constexpr int64_t kAnchorGuesses = 128;

/// kd_anchor_samples of the rows, drawn by `seed`, with references that are still to be read or
/// loaded. Of the model's vocabulary the first `vocabulary` tokens count.
Anchor plan_anchor(const KdConfig& config, uint64_t seed, std::shared_ptr<const RowStore> rows,
                   int64_t vocabulary);

/// Has `model` read the rows. Logits that are not finite: 80.
void read_anchor(Anchor& anchor, const CausalLm& model);

/// Its references, for checkpoints: the model they came from may be gone when a run goes on.
void visit_anchor(Anchor& anchor,
                  const std::function<void(const std::string& name, at::Tensor& tensor)>& visitor);

/// Where a look is due at `step`: adds `scale` times the gradient of the weighted divergence, a
/// mean over the row's labels, and returns that loss. Else 0.
double hold_to_anchor(Training& training, int64_t step, double scale);

/// The most that references to rows of so many labels take.
int64_t anchor_bytes(const KdConfig& config, int64_t labels_per_row);

}  // namespace isogrid
