#pragma once
#include <map>
#include <string>
#include <vector>

#include "quant/packed_groups.h"

namespace isogrid {

/// A model's linears in few bits, under their names in the published checkpoint, and what else was
/// changed on the way: norms and biases that took over a factor of the weights.
struct PackedModel {
  std::map<std::string, PackedGroupParts> linears;
  std::map<std::string, at::Tensor> changed;  // tensor name -> its new value, float32
  std::vector<std::string> left_dense;        // linears whose shape the container cannot hold
  std::string text;                           // what was calibrated on, for people
  double worst_error = 0;                     // the largest relative error of a layer's product
  std::string worst_layer;
};

}  // namespace isogrid
