#pragma once
#include "quant/lut_product.h"
#include "quant/lut_table.h"
#include "quant/weight_source.h"

namespace isogrid {

/// W = table[code] * max(a b, 1e-8), the codes found anew from a latent weight at every use.
struct LutV1Parts {
  at::Tensor latent;  // [out, in]
  LutTable table;
  at::Tensor a;  // [out, rank]
  at::Tensor b;  // [rank, in]
};

/// The gradient of W reaches the latent weight unchanged. Scales alone take it with the codes held
/// fixed; beside a latent weight that trains, they take what rounding leaves of it, because there
/// the codes follow the scales and W stays near the latent weight.
class LutV1Weight final : public WeightSource {
 public:
  /// Parts that do not fit each other are refused (65); `name` names the weight.
  LutV1Weight(const std::string& name, LutV1Parts parts);

  const LutV1Parts& parts() const { return parts_; }
  LutV1Parts& parts() { return parts_; }
  int bits() const;
  /// uint8 [out, in], as the scales stand.
  at::Tensor codes() const;
  /// max(a b, 1e-8), in the type of `a`.
  at::Tensor scales() const;

  int64_t outputs() const override { return parts_.latent.size(0); }
  int64_t inputs() const override { return parts_.latent.size(1); }
  void materialise(at::Tensor& out, int64_t first, int64_t last,
                   const LowRank* delta) const override;
  at::Tensor resident(at::ScalarType) const override { return {}; }
  at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const override;
  bool trains() const override;
  void accumulate(const at::Tensor& d_weight) override;
  void accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  void to(at::Device device) override;

 private:
  /// Of rows [first, last), with their codes.
  LutFactors factors(at::ScalarType type, int64_t first, int64_t last) const;

  LutV1Parts parts_;
};

/// Scales below count as this.
constexpr double kLeastV1Scale = 1e-8;

/// Codes of weight / scales: by the formula of evenly spaced values from -1 to 1 for
/// uniform_table(), by the nearest value for any other table.
at::Tensor v1_codes(const at::Tensor& weight, const at::Tensor& scales, const at::Tensor& table);

}  // namespace isogrid
