#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quant/registry.h"

namespace isogrid {

/// A folder of look-up-table layers, as this trainer writes it. config.json holds
///   "quantization_config": {"quant_method": "isogrid_lut", "version": 1, "half": true, "layers": {
///     "model.layers.0.mlp.up_proj": {"parameters": "v2", "bits": 2, "rank": 32, "baked": false}}}
/// and the weights' files hold, after the name of the linear,
///   v2:       .codes (uint8 [out, bytes], packed), .lut, .scale_A, .scale_B, .rank_magnitude, and
///             .weight where codes are renewed from it
///   v1:       .weight, .lut, .scale_A, .scale_B
///   balanced: .weight, .raw_clip
/// `half`: V2's factors and the scale of balanced levels serve as float16 has them. Other linears
/// are dense.
std::shared_ptr<const QuantisedFolder> lut_folder(const Json& quantization,
                                                  const std::string& where);

constexpr const char* kLutMethod = "isogrid_lut";

/// What config.json says of one linear.
struct LutLayer {
  std::string parameters = "v2";  // or "v1" or "balanced"
  int bits = 4;
  int64_t rank = 0;    // balanced layers have none
  bool baked = false;  // v2: the magnitudes are part of scale_A
};
using LutLayers = std::map<std::string, LutLayer>;  // by the name of the linear

/// The layers of such a quantization_config; what it cannot say is refused (65).
LutLayers lut_layers_of(const Json& quantization, const std::string& where);

/// "v2", "v1" or "balanced"; empty: the weight is no look-up-table layer.
std::string lut_parameters(const WeightSource& weight);

/// The quantization_config of a model with these linears, of which those that are no
/// look-up-table layers are left out; none: it has no such layer.
using NamedWeights = std::vector<std::pair<std::string, const WeightSource*>>;
std::optional<Json> lut_folder_settings(const NamedWeights& linears);

}  // namespace isogrid
