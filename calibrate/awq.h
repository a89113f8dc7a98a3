#pragma once
#include <functional>
#include <vector>

#include "calibrate/gptq.h"

namespace isogrid {

struct AwqOptions {
  GroupRule rule = {.bits = 4, .group_size = 128, .symmetric = false, .scale_type = at::kHalf};
  int ratios = 20;      // powers of the inputs' magnitude that are tried: 0, 1/20, ...
  int clip_steps = 10;  // shrunk ranges that are tried, each a twentieth narrower
};

/// Rounds every linear of the blocks to its grid after scaling its inputs so that loud ones lose
/// less (Lin et al. 2023). The scale is taken back where it costs nothing: in the norm, or in the
/// rows of v and up, in front; `changed` holds norms and biases that took it over. Then ranges are
/// clipped where that makes the product better. Both are chosen by what they do to the products on
/// `rows`.
PackedModel calibrate_awq(const CausalLm& model, const std::vector<Batch>& rows,
                          const AwqOptions& options, const LinearFits& fits = {},
                          const CalibrationProgress& progress = {});

}  // namespace isogrid
