#pragma once
#include <memory>

#include "quant/weight_source.h"

namespace isogrid {

/// A plain matrix in a floating type. Served without a copy where the compute type is its own.
class DenseWeight final : public WeightSource {
 public:
  /// `weight` [out, in]; on the meta device until it is loaded.
  explicit DenseWeight(at::Tensor weight) : weight_(std::move(weight)) {}

  int64_t outputs() const override { return weight_.size(0); }
  int64_t inputs() const override { return weight_.size(1); }
  void materialise(at::Tensor& out, int64_t first, int64_t last,
                   const LowRank* delta) const override;
  at::Tensor resident(at::ScalarType compute) const override;
  at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const override;
  bool trains() const override { return weight_.requires_grad(); }
  void accumulate(const at::Tensor& d_weight) override { add_gradient(weight_, d_weight); }
  bool accumulate_slice(int64_t first, const at::Tensor& d_rows) override;
  void accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override {
    visitor({prefix + ".weight", &weight_, role});
  }
  void to(at::Device device) override;

 private:
  at::Tensor& gradient();

  at::Tensor weight_;
};

/// An unloaded matrix of this shape.
std::shared_ptr<WeightSource> unloaded_dense(int64_t outputs, int64_t inputs);

}  // namespace isogrid
