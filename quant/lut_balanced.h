#pragma once
#include "quant/weight_source.h"

namespace isogrid {

/// Levels without a zero, half a step either side of it: with 2 bits -1.5, -0.5, 0.5, 1.5 times one
/// scale for the whole tensor, with 4 bits -7.5 to 7.5. The scale is clip * max|W| / 2^(bits - 1),
/// clip = softplus(raw) + 1e-8 the one number that is learned beside the weight; the largest weight
/// itself takes no gradient through it.
class BalancedWeight final : public WeightSource {
 public:
  /// `latent` [out, in], `raw_clip` a tensor of one element. `half`: the scale is a number of
  /// float16, straight through, so that files with float16 scales hold the levels exactly.
  BalancedWeight(at::Tensor latent, at::Tensor raw_clip, int bits, bool half = false);

  int bits() const { return bits_; }
  bool half() const { return half_; }
  void set_half(bool half) { half_ = half; }
  /// uint8 [out, in]: 0 for the lowest level.
  at::Tensor codes() const;
  /// The step between levels, a float64.
  double scale() const;

  int64_t outputs() const override { return latent_.size(0); }
  int64_t inputs() const override { return latent_.size(1); }
  void materialise(at::Tensor& out, int64_t first, int64_t last,
                   const LowRank* delta) const override;
  at::Tensor resident(at::ScalarType) const override { return {}; }
  at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const override;
  bool trains() const override { return latent_.requires_grad() || raw_clip_.requires_grad(); }
  void accumulate(const at::Tensor& d_weight) override;
  void accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  void to(at::Device device) override;

 private:
  at::Tensor scale_of(at::ScalarType type) const;
  at::Tensor largest(at::ScalarType type) const;

  at::Tensor latent_, raw_clip_;
  int bits_;
  bool half_;
};

/// How the clip starts, as a share of the largest weight.
enum class ClipStart {
  newton,      // four Newton steps on the rounding's mean squared error over a sample of weights
  percentile,  // at a percentile of the weights' size
  grid,        // the best of the percentiles 99, 99.3, 99.5, 99.7, 99.9, 100
};

/// `seed` chooses the sample of a large weight. At least 1e-4.
double starting_clip(const at::Tensor& weight, int bits, ClipStart start, uint64_t seed,
                     double percentile = 99.5);

/// raw with softplus(raw) = clip.
double raw_of_clip(double clip);

}  // namespace isogrid
