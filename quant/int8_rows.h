#pragma once
#include "quant/frozen_weight.h"

namespace isogrid {

/// LLM.int8(): a scale for each row, as bitsandbytes' files hold it. The weight is multiplied as
/// the numbers it decodes to; activations are not rounded.
class Int8RowWeight final : public FrozenWeight {
 public:
  /// `codes` int8 [out, in], `scales` float32 [out].
  Int8RowWeight(at::Tensor codes, at::Tensor scales);

  const at::Tensor& codes() const { return codes_; }
  const at::Tensor& scales() const { return scales_; }
  std::string format() const override { return "bnb:int8"; }
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  void to(at::Device device) override;

 protected:
  void expand(at::Tensor& out, int64_t first, int64_t last) const override;

 private:
  at::Tensor codes_, scales_;
};

/// What bitsandbytes makes of `dense` [out, in] on a CPU, byte for byte. It goes through float16:
/// a weight beyond its range, or not finite, is refused (80); `name` names it.
std::shared_ptr<Int8RowWeight> quantise_int8_rows(const std::string& name, const at::Tensor& dense);

}  // namespace isogrid
