#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "configs/qat_config.h"
#include "models/causal_lm.h"

namespace isogrid {

struct Training;

/// lut_auto_snap: looks at the magnitudes of look-up-table layers every so many steps; once they
/// have settled they are rounded to float16 and held there, and the rest trains on. Part of a run's
/// state: where the run is interrupted makes no difference.
struct MagnitudeWatch {
  bool on = false;
  double threshold = 0;  // relative change from look to look that counts as settled
  int64_t patience = 0;  // settled looks in a row
  int64_t start_step = 0, steps_between = 1;

  int64_t settled = 0;
  bool snapped = false;
  std::vector<at::Tensor> before;  // as they were at the last look, in the order of the model
};

/// Nothing to watch is refused (78).
MagnitudeWatch watch_of(const LutConfig& config, CausalLm& model);

/// To be called before step `step`, counted from 0. True: they have been rounded now.
bool watch_magnitudes(Training& training, int64_t step);

/// Holds them where they are, as when a run goes on that had done so.
void hold_magnitudes(Training& training);

/// What the watch keeps from look to look, under names of its own, for checkpoints. `remembers`:
/// there has been a look.
void visit_watch(Training& training, bool remembers,
                 const std::function<void(const std::string& name, at::Tensor& tensor)>& visitor);

}  // namespace isogrid
