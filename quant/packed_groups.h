#pragma once
#include "kernels/packed_groups.h"
#include "quant/frozen_weight.h"

namespace isogrid {

/// Unsigned codes with a scale and a zero point for each group of columns, in the layout of
/// kernels/packed_groups.h: what GPTQ, AWQ and compressed-tensors come to.
struct PackedGroupParts {
  const char* format = "gptq";  // who wrote it, for reports
  int bits = 4;
  int64_t outputs = 0, inputs = 0;
  int64_t group_size = 0;
  at::Tensor codes;   // uint8 [outputs, row_bytes]
  at::Tensor scales;  // float16, bfloat16 or float32 [outputs, groups]
  at::Tensor zeros;   // uint8 [outputs, groups], or undefined: `zero` everywhere
  int zero = 8;
  at::Tensor group_of;  // int32 [inputs], or undefined: column / group_size

  int64_t groups() const { return scales.size(1); }
};

/// Bytes of a row of codes: a whole number of 32-bit words.
constexpr int64_t packed_row_bytes(int64_t columns, int bits) {
  return (columns * bits + 31) / 32 * 4;
}

/// Forgets a list of zero points that are all the same, and groups that follow each other.
PackedGroupParts simplified(PackedGroupParts parts);

class PackedGroupWeight final : public FrozenWeight {
 public:
  explicit PackedGroupWeight(PackedGroupParts parts);

  const PackedGroupParts& parts() const { return parts_; }
  std::string format() const override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  void to(at::Device device) override;

 protected:
  void expand(at::Tensor& out, int64_t first, int64_t last) const override;

 private:
  PackedGroupParts parts_;
};

}  // namespace isogrid
