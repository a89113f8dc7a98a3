#pragma once
#include <memory>

#include "kernels/four_bit.h"
#include "quant/frozen_weight.h"

namespace isogrid {

/// A weight in bitsandbytes' four bits, NF4 or FP4, as its files hold it.
struct Bnb4Parts {
  kernels::FourBitCode code = kernels::FourBitCode::nf4;
  int64_t outputs = 0, inputs = 0;
  int64_t block = 64;
  at::ScalarType type = at::kFloat;  // what the weight was before
  at::Tensor codes;                  // uint8 [(numel + 1) / 2, 1]
  at::Tensor scales;                 // float32 [blocks], or uint8 when they are quantised too:
  at::Tensor scale_map;              // float32 [256]
  at::Tensor group_scales;           // float32 [groups]
  int64_t group = 256;
  float offset = 0;

  bool is_nested() const { return scale_map.defined(); }
};

class Bnb4Weight final : public FrozenWeight {
 public:
  explicit Bnb4Weight(Bnb4Parts parts);

  const Bnb4Parts& parts() const { return parts_; }
  std::string format() const override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  void to(at::Device device) override;

 protected:
  void expand(at::Tensor& out, int64_t first, int64_t last) const override;

 private:
  Bnb4Parts parts_;
};

/// What bitsandbytes makes of `dense` [out, in] (float32, bfloat16 or float16) on a CPU, byte for
/// byte. Sums over the scales are taken on one thread: the same bits on every machine of a kind.
/// A weight that is not finite is refused (80); `name` names it.
Bnb4Parts quantise_bnb4(const std::string& name, const at::Tensor& dense, kernels::FourBitCode code,
                        bool nested, int64_t block = 64);

/// The values of the sixteen codes, and those of the scales' 256, as files hold them.
at::Tensor bnb4_values(kernels::FourBitCode code);
at::Tensor bnb_scale_map();

/// Bytes of codes and statistics.
int64_t bnb4_bytes(int64_t numbers, bool nested, int64_t block = 64);

}  // namespace isogrid
