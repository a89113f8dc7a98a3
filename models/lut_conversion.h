#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/lut_layers.h"

namespace isogrid {

/// The layers a model is to have: those that the settings name over those that it has. Where only a
/// form is named ("v2", "v1", "balanced"), its layers in that form, of the bits and ranks they
/// have.
LutLayers converted_lut_layers(CausalLm& structure, const LutLayers& stored,
                               const LutConfig& config, const std::optional<std::string>& form);

/// How loud the inputs of a linear are, [in]; undefined: not known.
using LutImportance = std::function<at::Tensor(const std::string& linear)>;

/// What a conversion looks at beside the layers themselves.
struct LutConversion {
  LutConfig config;
  uint64_t seed = 0;
  LutImportance importance = {};  // of a linear's inputs
  /// The weight [out, in] a layer is to stand for; empty or undefined: the one it serves.
  std::function<at::Tensor(const std::string& linear)> wanted = {};
};

/// What became of a layer.
struct LutChange {
  std::string linear;
  std::string from, to;  // "v2, 4 bits, rank 4"; "dense"
  double error = 0;      // sum (new - wanted)^2 / sum wanted^2, weighted by importance
};

/// Gives the linears of a loaded model the layers of `layers`. Dense ones are made as a training
/// makes them; V1 becomes V2 with its own factors; a V2 layer of other bits or rank is narrowed
/// from what it has; everything else starts from the weight that is served. What a linear is
/// already stays as it is, to the bit.
std::vector<LutChange> convert_lut_layers(CausalLm& model, const LutLayers& layers,
                                          const LutConversion& conversion,
                                          const std::function<void(int64_t done)>& progress);

}  // namespace isogrid
