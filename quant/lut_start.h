#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "quant/lut_balanced.h"
#include "quant/lut_fit.h"
#include "quant/lut_v1.h"
#include "quant/lut_v2.h"

namespace isogrid {

/// Bits and ranks of a model's two families of linears.
struct LutPreset {
  std::string_view name;
  int mlp_bits;
  int64_t mlp_rank;
  int attention_bits;
  int64_t attention_rank;
};
std::span<const LutPreset> lut_presets();

/// An unknown name is refused (78) with the list.
const LutPreset& lut_preset(const std::string& name);

/// How a layer's scales and table start.
enum class LutStart {
  max_abs,  // the largest magnitude of each group, brought to the rank by singular vectors
  mse,      // scales of groups that err least, or those, whichever errs less at that rank
  als,      // from there on alternating least squares on codes and scales
  kmeans,   // and then on a symmetric table too
};
LutStart lut_start(const std::string& name);

struct LutStartOptions {
  int bits = 4;
  int64_t rank = 8;
  int64_t group = 32;
  LutStart start = LutStart::als;
  bool half = true;       // codes for factors as float16 has them
  at::Tensor importance;  // [in] or undefined
  uint64_t seed = 0;
};

/// A look-up-table layer for the dense `weight` [out, in]. A rank above the layer's is refused
/// (78); `name` names the weight.
LutV2Parts start_lut_v2(const std::string& name, const at::Tensor& weight,
                        const LutStartOptions& options);

/// V1's scales are positive, so als and kmeans start like mse. The latent weight is a copy.
LutV1Parts start_lut_v1(const std::string& name, const at::Tensor& weight,
                        const LutStartOptions& options);

/// Directions as parts with codes for `weight`; magnitudes are rounded to float16.
LutV2Parts coded_parts(const std::string& name, const at::Tensor& weight, const LutFactors& factors,
                       bool half);

}  // namespace isogrid
