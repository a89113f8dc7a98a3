#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace isogrid {

/// What a tensor is, for loading, counting, choosing what trains, and exporting.
enum class Role {
  weight,
  embedding,
  bias,
  norm,
  code,
  scale,
  factor,  // what scales are made of, where they train
  table,   // the values of a look-up table, or what they are made of
  adapter_a,
  adapter_b,
  adapter_magnitude,
};

/// Part of an adapter, which is stored apart from the model it changes.
constexpr bool is_adapter(Role role) {
  return role == Role::adapter_a || role == Role::adapter_b || role == Role::adapter_magnitude;
}

/// Part of a weight in few bits: frozen, and of no floating type or no type one computes in.
constexpr bool is_quantised(Role role) { return role == Role::code || role == Role::scale; }
/// Part of what a weight is made of instead of being a matrix of numbers.
constexpr bool is_ingredient(Role role) {
  return is_quantised(role) || role == Role::factor || role == Role::table;
}
/// Numbers that no gradient moves.
constexpr bool is_fixed(Role role) { return role == Role::code || role == Role::scale; }

/// One entry of the one list every layer keeps of its tensors. A tensor that is not loaded yet is
/// on the meta device and says its shape. `trains` is set by whoever chooses what trains.
struct TensorSlot {
  std::string name;
  at::Tensor* tensor;
  Role role;
  /// Read in the master's type: rounded to the compute type it would give other codes.
  bool in_master = false;
  /// Not part of the published weight, only of a run that trains it.
  bool of_run = false;
  /// Moves during a run although it does not train: checkpoints keep it.
  bool changes = false;
};
using TensorVisitor = std::function<void(const TensorSlot&)>;

/// A low-rank change of a weight: scale * b.matmul(a), a [r, in], b [out, r].
struct LowRank {
  at::Tensor a, b;
  double scale = 1.0;
};

/// Where in the run we are; schedules of a weight (start, refresh, freeze) read it.
struct StepInfo {
  int64_t step = 0;
  int64_t total_steps = 0;
};

/// Adds `value` to the gradient of a trainable tensor, creating it at the first call.
void add_gradient(at::Tensor& trainable, const at::Tensor& value);

/// A weight matrix [out, in] as the deployed file decodes it, however it is kept.
/// A new quantisation is one class of this kind and one line in quant/registry.cpp.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  virtual int64_t outputs() const = 0;
  virtual int64_t inputs() const = 0;

  /// Rows [first, last), plus the rows of `delta` if there is one, written into `out`
  /// [last - first, in], a buffer the caller owns and reuses; its dtype is the compute type.
  virtual void materialise(at::Tensor& out, int64_t first, int64_t last,
                           const LowRank* delta) const = 0;

  /// The whole weight where it already lies in memory in the wanted type; undefined otherwise.
  virtual at::Tensor resident(at::ScalarType compute) const = 0;

  /// Rows picked by `ids` [n] -> [n, in] in `compute`, without expanding the table.
  virtual at::Tensor rows(const at::Tensor& ids, at::ScalarType compute) const = 0;

  /// x [tokens, in] times the weight, by a way of the source's own; undefined: there is none, the
  /// weight is multiplied as it materialises. The gradients are those of the materialised weight.
  virtual at::Tensor own_product(const at::Tensor& /*x*/) const { return {}; }

  /// Does anything behind this weight train? accumulate() is called only then.
  virtual bool trains() const = 0;
  /// dL/dW [out, in] -> the gradients of what trains.
  virtual void accumulate(const at::Tensor& d_weight) = 0;
  /// The gradient of rows(): d_rows [n, in] added at ids.
  virtual void accumulate_rows(const at::Tensor& ids, const at::Tensor& d_rows) = 0;

  /// To be called before each step, and once when a run is opened. `delta`: of an adapter that is
  /// rounded together with the weight.
  virtual void begin_step(const StepInfo&, const LowRank* /*delta*/) {}
  /// Is what it serves now a rounding of something else that trains or has trained?
  virtual bool rounds() const { return false; }
  /// What of dL/dW reaches the weight, changed by `delta`, before it was rounded; what trains of
  /// the rounding takes its gradient.
  virtual at::Tensor through_rounding(const at::Tensor& d_weight, const LowRank* /*delta*/) {
    return d_weight;
  }
  virtual void visit(const std::string& prefix, Role role, const TensorVisitor& visitor) = 0;
  virtual void to(at::Device device) = 0;
};

/// The weight in `compute`: resident if possible, else materialised into a fresh buffer.
at::Tensor whole_weight(const WeightSource& source, at::ScalarType compute, at::Device device);

}  // namespace isogrid
