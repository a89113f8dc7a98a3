#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/batch.h"
#include "models/causal_lm.h"

namespace isogrid {

/// What a look-up-table layer looks like from outside.
struct LutLayerFigures {
  std::string linear;
  std::string form;  // "v2", "v1" or "balanced"
  int bits = 0;
  int64_t rank = 0;
  std::vector<double> usage = {};  // share of the weights that each value of the table has
  double entropy = 0;              // of those, in bits: `bits` where all values are alike common
  double outermost = 0;            // share of the two values at the ends
  std::optional<double> weight_error = {};  // sum (w - original)^2 / sum original^2
  std::optional<double> output_error = {};  // the same of what it makes of the rows' inputs
};

/// The weight of a linear in the model that the layers stand for; undefined: it is not known.
using OriginalWeight = std::function<at::Tensor(const std::string& linear)>;

/// Of every layer, in the model's order. Inputs are those the model itself has on `rows`; without
/// an original there are no errors and the rows are not read.
std::vector<LutLayerFigures> lut_layer_figures(CausalLm& model, const std::vector<Batch>& rows,
                                               const OriginalWeight& original);

}  // namespace isogrid
