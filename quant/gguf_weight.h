#pragma once
#include "core/gguf_types.h"
#include "quant/frozen_weight.h"

namespace isogrid {

/// A weight of GGUF blocks: the bytes of its file as they lie, decoded where they are needed.
class GgufWeight final : public FrozenWeight {
 public:
  /// `blocks` uint8 [outputs, bytes of a row], on the host. `alternating_heads`: the stored rows
  /// alternate between the two halves of each of so many heads; 0: they lie as they are used.
  GgufWeight(const GgufType& type, at::Tensor blocks, int64_t inputs,
             int64_t alternating_heads = 0);

  const GgufType& type() const { return type_; }
  std::string format() const override;
  void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) override;
  /// The blocks stay on the host; what is expanded is copied to where it is wanted.
  void to(at::Device device) override;

 protected:
  void expand(at::Tensor& out, int64_t first, int64_t last) const override;

 private:
  int64_t stored_row(int64_t row) const;

  const GgufType& type_;
  at::Tensor blocks_;
  int64_t alternating_heads_;
};

}  // namespace isogrid
