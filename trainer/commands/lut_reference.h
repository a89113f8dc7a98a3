#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <string>

namespace isogrid {

/// The weight of a linear in another model, float32; undefined: that model has no such linear.
using ReferenceWeights = std::function<at::Tensor(const std::string& linear)>;

/// The weights of the model `name`, made one at a time; without a name: empty.
ReferenceWeights reference_weights(const std::optional<std::string>& name);

}  // namespace isogrid
