#pragma once
#include "quant/lut_product.h"
#include "quant/lut_table.h"
#include "quant/weight_source.h"

namespace isogrid {

/// W = table[code] * (A_dir diag(g) B_dir): A_dir the columns of `a` and B_dir the rows of `b`
/// brought to unit length on use, g signed magnitudes, scales signed and of any size.
struct LutV2Parts {
  at::Tensor codes;  // uint8 [out, packed_bytes]
  LutTable table;
  at::Tensor a;        // [out, rank]
  at::Tensor b;        // [rank, in]
  at::Tensor g;        // [rank]
  at::Tensor latent;   // [out, in]: what codes are renewed from; undefined: they are frozen
  bool baked = false;  // a carries the magnitudes, a and b are used as they are

  int bits() const;
};

/// How a product with the weight is formed. All have the same exact gradients.
enum class LutForward {
  materialised,  // x W^T
  factored,      // rank by rank, as a device without room for W does; rounded at every rank
  batched,       // all ranks at once, one rounding of their sum
};

struct LutV2Options {
  /// Factors (and what the factored forwards hold) as float16 has them; straight through.
  bool half = true;
  LutForward forward = LutForward::materialised;
  int64_t recode_steps = 0;  // between two renewals of the codes; 0: never
  /// A code flips where another value is nearer by this share of their distance.
  double hysteresis = 0.25;
};

class LutV2Weight final : public WeightSource {
 public:
  /// Parts that do not fit each other are refused (65); `name` names the weight.
  LutV2Weight(const std::string& name, LutV2Parts parts, const LutV2Options& options);

  const LutV2Parts& parts() const { return parts_; }
  LutV2Parts& parts() { return parts_; }
  const LutV2Options& options() const { return options_; }
  void set_options(const LutV2Options& options) { options_ = options; }
  /// What the weight is multiplied out from, in `type`.
  LutFactors factors(at::ScalarType type) const;

  int64_t outputs() const override { return parts_.a.size(0); }
  int64_t inputs() const override { return parts_.b.size(1); }
  void materialise(at::Tensor& out, int64_t first, int64_t last,
                   const LowRank* delta) const override;
  at::Tensor resident(at::ScalarType) const override { return {}; }
  at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const override;
  at::Tensor own_product(const at::Tensor& x) const override;
  bool trains() const override;
  void accumulate(const at::Tensor& d_weight) override;
  void accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) override;
  void begin_step(const StepInfo& step, const LowRank* delta) override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  void to(at::Device device) override;

  /// Codes of the nearest values for `weight`. With a hysteresis of h a code changes only where the
  /// new value is nearer by h times the distance of the two.
  void take_codes_of(const at::Tensor& weight, double hysteresis = 0);

  /// Magnitudes as float16 has them.
  void snap_magnitudes();

  /// Puts the magnitudes into `a` as float16 has them, and `b` and the table likewise: what is
  /// served does not change where `half` was on. Codes stay.
  void bake();

 private:
  LutV2Parts parts_;
  LutV2Options options_;
};

/// "materialised", "factored" or "batched"; others are refused (78).
LutForward lut_forward(const std::string& name);

/// Codes of the nearest values of `table` to weight / scales, clamped to its ends; a tie takes the
/// lower value, a scale of zero the value nearest to zero. uint8 [rows, columns].
at::Tensor nearest_codes(const at::Tensor& weight, const at::Tensor& scales,
                         const at::Tensor& table);

/// The largest change of a magnitude since `before`, over its size.
double relative_change(const at::Tensor& magnitudes, const at::Tensor& before);

}  // namespace isogrid
