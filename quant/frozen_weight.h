#pragma once
#include <string>

#include "kernels/element.h"
#include "quant/weight_source.h"

namespace isogrid {

/// What every base held in few bits has in common: it never trains and never lies in memory as
/// numbers. A kind of it says how rows are expanded and which tensors it keeps.
class FrozenWeight : public WeightSource {
 public:
  int64_t outputs() const final { return outputs_; }
  int64_t inputs() const final { return inputs_; }
  void materialise(at::Tensor& out, int64_t first, int64_t last, const LowRank* delta) const final;
  at::Tensor resident(at::ScalarType) const final { return {}; }
  at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const final;
  bool trains() const final { return false; }
  void accumulate(const at::Tensor& d_weight) final;
  void accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) final;

  /// "bnb:nf4": how it is kept, for reports.
  virtual std::string format() const = 0;

 protected:
  FrozenWeight(int64_t outputs, int64_t inputs) : outputs_(outputs), inputs_(inputs) {}

  /// Rows [first, last) into `out`: contiguous, on the weight's device, float32, bfloat16 or
  /// float16, each number rounded once from float32 unless the format itself rounds earlier.
  virtual void expand(at::Tensor& out, int64_t first, int64_t last) const = 0;

 private:
  int64_t outputs_, inputs_;
};

/// The queue of the tensor's device that work goes to now, as our own kernels take it.
void* stream_of(const at::Tensor& tensor);

/// The kernels' name of a tensor's type; anything but float32, bfloat16 and float16 fails.
kernels::Element element_of(const at::Tensor& tensor);

}  // namespace isogrid
