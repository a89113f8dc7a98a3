#pragma once
#include "trainer/step.h"

namespace isogrid {

/// Moves the running average towards the masters, where the run keeps one.
void blend_average(Training& training);

/// While it lives the model computes with the running average, where the run keeps one: what is
/// evaluated and published. Nothing may be updated meanwhile.
class AveragedWeights {
 public:
  explicit AveragedWeights(Training& training);
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;
  ~AveragedWeights();

 private:
  void exchange();
  Training& training_;
};

}  // namespace isogrid
