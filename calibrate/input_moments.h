#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace isogrid {

/// What is remembered of the inputs of a group of linears: enough to say what any change of their
/// weights does to their products, in a space that does not grow with the text.
class InputMoments {
 public:
  void add(const at::Tensor& inputs);  // [tokens, in], any floating type

  int64_t tokens() const { return tokens_; }
  at::Tensor second_moment() const;   // float32 [in, in]: the mean of x x^T over the tokens
  at::Tensor mean_magnitude() const;  // float32 [in]: the mean of |x|

 private:
  at::Tensor products_, magnitudes_;
  int64_t tokens_ = 0;
};

/// The mean over tokens of the squared length of (change x): what a change of a weight [out, in]
/// does to its product.
double product_error(const at::Tensor& change, const at::Tensor& second_moment);

}  // namespace isogrid
