#pragma once
#include <ATen/core/Tensor.h>

namespace isogrid {

/// The 4 or 16 values that the codes of a layer stand for, ascending.
///
/// A symmetric table trains through logits, half as many as values: the steps from zero upwards are
/// least + (top - half * least) * softmax(logits), so that values stay apart in float16, ordered,
/// and the outermost stays `top`. Any other table trains value by value.
struct LutTable {
  at::Tensor values;  // [2^bits]; of a table with logits what they gave when last asked
  at::Tensor logits;  // [2^bits / 2] or undefined

  int64_t size() const { return values.size(0); }
  double top() const;
  bool trains() const;
};

/// +-1/3, +-1 and +-1/15, ..., +-1, rounded to float16.
at::Tensor uniform_table(int bits);

/// The least step between values up to `top`: two units of float16 there.
double least_step(double top);

/// Are values[i] == -values[n - 1 - i]?
bool is_symmetric(const at::Tensor& values);

/// Gives a symmetric table logits that yield its values again (but for steps below the least).
void give_logits(LutTable& table);

/// The values in use, of type `type`: those of the logits, rounded to float16 where `half` asks.
at::Tensor table_values(const LutTable& table, at::ScalarType type, bool half);

/// Adds to the gradients of what trains, from that of table_values(); rounding is straight through.
void accumulate_table(LutTable& table, const at::Tensor& d_values);

/// Straight-through float16: clamped to its range and rounded. A gradient passes unchanged.
at::Tensor as_half(const at::Tensor& tensor);

/// The values made distinct in float16, in order, without a zero; a symmetric table stays so, the
/// outermost value is kept.
at::Tensor repaired_table(const at::Tensor& values);

}  // namespace isogrid
