#pragma once
#include <string>

#include "trainer/step.h"
#include "trainer/train_state.h"

namespace isogrid {

/// What a step that was not finite leads to.
enum class Verdict { fine, skipped, stop };

/// Judges a step and keeps the books: the loss scale, and skipped steps against their bounds (at
/// most 3 in a row and 10 of the latest 1000). float16 overflows are not a fault of the run until
/// the scale falls below 1. `policy`: stop or skip.
Verdict judge_step(const StepReport& report, const std::string& policy, Training& training,
                   Progress& progress);

/// Whether masters, moments and average are finite: a checkpoint never holds anything else.
bool state_is_finite(Training& training);

}  // namespace isogrid
